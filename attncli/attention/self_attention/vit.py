"""ViT: an image as a sequence of patches, through a transformer encoder (a whole network).

    t_i = W_e patch_i + b_e,   z = [cls; t_1 .. t_L] + position                      (N, L + 1, d)
    z = z + W_o [softmax(q_h k_h^T / sqrt(d_h)) v_h]_h + b_o,   [q k v] = W_qkv LN(z)
    z = z + W_2 GELU(W_1 LN(z) + b_1) + b_2                                          `depth` times both
    logits = W_c LN(pool(z)) + b_c,   pool = mean over all L + 1 tokens, or token `cls`

Dropout after the embedding, the softmax and both projections. A patch is flattened as (row, column, channel);
here the embedding is the strided convolution with the same weights. Cost of a block: L^2 h d_h + L d (4 h d_h + 2 m)
multiply-adds. `variant="auto"` and `patch_size=None` choose by the shorter side of the image:

    side        d     depth  heads  d_h  m      patch
    below 24    64    4      4      16   128    the common divisor of H and W nearest to an eighth of the side,
    24 to 95    192   6      3      64   384    from 2 on and leaving at least 4 x 4: about 64 tokens
    96 to 191   384   6      6      64   768    (8 px: 2, 28 and 32 px: 4, 96 px: 12, 224 px: 28, 256 px: 32)
    from 192    1024  6      8      64   2048

so that 256 px images get the sizes usually shown with this code (patch 32). The variants are the published ones
(ViT-B/16 of the paper: variant "b", patch_size 16, pool "cls", qkv_bias true, eps 1e-6); an option that is given
wins over the table.

Where the sources differ: the maths is that of vit-pytorch as of June 2022 (no norm after the last block, LayerNorm
in the head, mean over the class token and the patches, no bias on q, k and v; no W_o with one head of width d). The
official JAX code and timm take the class token after a last LayerNorm, which is the same as pool "cls" here, give
q, k and v a bias and use eps 1e-6. Initialisations: "lucidrains" draws class token and positions from normal(0, 1)
and leaves the rest to PyTorch; "google" and "timm" are the official code's and timm's.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    venue="ICLR",
    year=2021,
    arxiv="2010.11929",
    site="model",
    code="lucidrains/vit-pytorch@2fa2b62 vit_pytorch/vit.py",
    no_weight_decay=("position", "cls"),
    aliases=("vision-transformer", "vit-tiny"),
    notes=(
        "From scratch on small data ViT is weak: compare with rows without pre-training only.",
        "The positions fix the image size.",
    ),
)

# d, depth, heads, d_h, m
VARIANTS = {
    "ti": (192, 12, 3, 64, 768),
    "s": (384, 12, 6, 64, 1536),
    "b": (768, 12, 12, 64, 3072),
    "l": (1024, 24, 16, 64, 4096),
    "h": (1280, 32, 16, 80, 5120),
}
BY_SIDE = (
    (24, (64, 4, 4, 16, 128)),
    (96, (192, 6, 3, 64, 384)),
    (192, (384, 6, 6, 64, 768)),
)
CARD = (1024, 6, 8, 64, 2048)
MAX_AUTO_TOKENS = 1024
CUT_DEVIATION = 0.87962566103423978  # of a standard normal distribution that is cut at -2 and 2


class Attention(nn.Module):
    """Images (N, C, H, W) -> logits (N, classes); (H, W) is `size`.

    `patch_size` is a side or (height, width). Raises ValueError if the patches do not tile the image or an
    option is out of range.
    """

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        channels_in: int = 3,
        *,
        variant: Literal["auto", "ti", "s", "b", "l", "h"] = "auto",
        patch_size: int | tuple[int, ...] | None = None,
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        dim_head: int | None = None,
        mlp_dim: int | None = None,
        pool: Literal["mean", "cls"] = "mean",
        dropout: float = 0.0,
        emb_dropout: float = 0.0,
        qkv_bias: bool = False,
        eps: float = 1e-5,
        init: Literal["lucidrains", "google", "timm"] = "lucidrains",
    ) -> None:
        super().__init__()
        defaults = VARIANTS.get(variant) or default_encoder_sizes(min(size))
        options = (dim, depth, heads, dim_head, mlp_dim)
        d, depth, heads, dim_head, mlp_dim = (c if g is None else g for g, c in zip(options, defaults, strict=True))
        if min(d, depth, heads, dim_head, mlp_dim) < 1:
            raise ValueError("dim, depth, heads, dim_head and mlp_dim must be at least 1")
        patch = choose_patch_sides(size, patch_size)
        tokens = (size[0] // patch[0]) * (size[1] // patch[1])
        self.pool = pool
        self.embed = nn.Conv2d(channels_in, d, patch, stride=patch)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.position = nn.Parameter(torch.randn(1, tokens + 1, d))
        self.drop = nn.Dropout(emb_dropout)
        self.blocks = nn.Sequential(
            *(EncoderBlock(d, heads, dim_head, mlp_dim, dropout, qkv_bias, eps) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(d, eps=eps)
        self.head = nn.Linear(d, classes)
        initialize_encoder(self, init)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        t = self.embed_patches(x)
        z = torch.cat((self.cls.expand(len(t), -1, -1), t), dim=1)  # (N, L + 1, d)
        z = self.blocks(self.drop(z + self.position))
        logits: Tensor = self.head(self.norm(z.mean(1) if self.pool == "mean" else z[:, 0]))
        return logits

    def embed_patches(self, x: Tensor) -> Tensor:
        """Embed the patches, without class token and positions: (N, C, H, W) -> (N, L, d), row by row."""
        embedded: Tensor = self.embed(x)  # (N, d, H / p1, W / p2)
        return embedded.flatten(2).transpose(1, 2)


class EncoderBlock(nn.Module):
    """One pre-norm encoder block: (N, L, d) -> (N, L, d)."""

    def __init__(
        self, d: int, heads: int, dim_head: int, mlp_dim: int, dropout: float, qkv_bias: bool, eps: float
    ) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads, self.dropout, self.scale = heads, dropout, dim_head**-0.5
        self.norm1 = nn.LayerNorm(d, eps=eps)
        self.qkv = nn.Linear(d, 3 * inner, bias=qkv_bias)
        is_single_head = heads == 1 and dim_head == d
        self.project = nn.Identity() if is_single_head else nn.Sequential(nn.Linear(inner, d), nn.Dropout(dropout))
        self.norm2 = nn.LayerNorm(d, eps=eps)
        self.mlp = nn.Sequential(
            nn.Linear(d, mlp_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp_dim, d), nn.Dropout(dropout)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Attend, then transform each token, both residual."""
        n, length, _ = z.shape
        q, k, v = self._project_qkv(z)
        p = self.dropout if self.training else 0.0
        o = F.scaled_dot_product_attention(q, k, v, dropout_p=p, scale=self.scale)
        z = z + self.project(o.transpose(1, 2).reshape(n, length, -1))
        y: Tensor = z + self.mlp(self.norm2(z))
        return y

    def _project_qkv(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, (N, h, L, d_h) each."""
        qkv = self.qkv(self.norm1(z)).view(*z.shape[:2], 3, self.heads, -1)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what each token attends to, mean over the heads."""
        q, k, _ = self._project_qkv(inputs[0])
        a = (self.scale * q @ k.transpose(2, 3)).softmax(3).mean(1)
        return [Observation("affinity", "tokens attended to", a, tokens=True)]


def default_encoder_sizes(side: int) -> tuple[int, int, int, int, int]:
    """Return (d, depth, heads, d_h, m) for an image whose shorter side has `side` pixels."""
    return next((sizes for below, sizes in BY_SIDE if side < below), CARD)


def choose_patch_sides(size: tuple[int, int], patch_size: int | tuple[int, ...] | None) -> tuple[int, int]:
    """Return (height, width) of a patch, by default the square that makes about 64. Raises ValueError if none fits."""
    h, w = size
    if patch_size is None:
        tiling_sides = [p for p in range(2, min(size) // 4 + 1) if h % p == 0 and w % p == 0] or [1]
        side = min(tiling_sides, key=lambda p: (abs(p - min(size) / 8), -p))
        if (h // side) * (w // side) > MAX_AUTO_TOKENS:
            raise ValueError(f"no square patch tiles images of {h}x{w}: resize them, or give patch_size")
        return side, side
    sides = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    if len(sides) != 2 or min(sides) < 1 or h % sides[0] or w % sides[1]:
        raise ValueError(f"patch_size={patch_size} does not tile images of {h}x{w}")
    return sides[0], sides[1]


def initialize_encoder(model: Attention, init: str) -> None:
    """Draw the parameters of `model` as the official JAX code ("google") or timm does; "lucidrains" keeps them."""
    if init == "timm":
        nn.init.trunc_normal_(model.position, std=0.02)
        nn.init.normal_(model.cls, std=1e-6)
        _draw_linear_layers(model, partial(nn.init.trunc_normal_, std=0.02))
    elif init == "google":
        nn.init.normal_(model.position, std=0.02)
        nn.init.zeros_(model.cls)
        _draw_linear_layers(model, nn.init.xavier_uniform_)
        for block in (m for m in model.modules() if isinstance(m, EncoderBlock)):
            for part in block.qkv.weight.detach().chunk(3):  # q, k and v are layers of their own there
                nn.init.xavier_uniform_(part)
        _draw_lecun_normal(model.embed)
        for name, p in model.named_parameters():
            if ".mlp." in name and name.endswith("bias"):
                nn.init.normal_(p, std=1e-6)
        nn.init.zeros_(model.head.weight)


def _draw_lecun_normal(conv: nn.Conv2d) -> None:
    """Draw as flax does: from a normal distribution cut at 2 deviations, with the variance 1 / fan-in; bias 0."""
    deviation = conv.weight[0].numel() ** -0.5 / CUT_DEVIATION
    nn.init.trunc_normal_(conv.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _draw_linear_layers(model: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw the weights of every linear layer; biases 0."""
    for m in model.modules():
        if isinstance(m, nn.Linear):
            draw(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
