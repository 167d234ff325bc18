"""EAMLP: a transformer whose attention is two small learned memories instead of other tokens (a whole network).

Multi-head external attention on tokens x (N, L, d), nominal heads h, coefficient 4:

    u = W_t x + b_t                               d -> 4d, split into 4h heads of width d / h
    a = u M_k^T + b_k                             (N, L, 4h, S), S = 64 units, one M_k and M_v for all heads
    a = softmax of a over the L positions, then a / (1e-9 + sum of a over S), then dropout
    y = W_p [a M_v^T + b_v] + b_p                 heads joined to 4d, 4d -> d, then dropout

Network: three overlapping soft splits, the first two each followed by a token module (LayerNorm, a linear layer to
width 64, external attention with one head and S = 128, an MLP), class token, fixed sinusoidal positions, `depth`
blocks z = z + y(LN z), z = z + MLP(LN z), LayerNorm, class token to a linear head. Cost of the attention:
L (8 d^2 + 8 d S) multiply-adds, linear in L. Learns 8 d^2 + 5 d + 2 S d / h + S + d / h numbers.

`variant="auto"` and `strides=None` choose by the shorter side of the image (an option that is given wins):

    side        network                                  strides of the soft splits (7x7 for 4, else 3x3)
    below 24    d 64, depth 4, h 4, MLP x2               1, 1, 2     (8 px: 16 tokens)
    24 to 47    d 128, depth 7, h 4, MLP x2              1, 2, 2     (32 px: 64 tokens)
    48 to 111   EAMLP-7: d 256, depth 7, h 4, MLP x2     2, 2, 2     (96 px: 144 tokens)
    from 112    EAMLP-7                                  4, 2, 2     (224 px: 196 tokens, as published)

Where the sources differ: the official real head count is 4 h, and all heads share one pair of memories, with
biases; `shared=False` gives every head its own pair, as some ports do. The softmax cancels b_k, b_t and the bias of
the LayerNorm before them, which therefore never learn. In the official token modules M_v starts as the transpose of
M_k (tied only until the model moves to another device): here they start so and are free. The last soft split and its
projection are one convolution here.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    venue="arXiv",
    year=2021,
    arxiv="2105.02358",
    site="model",
    code="MenghaoGuo/EANet@59c03cb EAMLP/models/transformer_block.py, t2t_vit.py, token_performer.py",
    no_weight_decay=("cls",),
    dead=("blocks.*.norm1.bias", "blocks.*.attention.expand.bias", "blocks.*.attention.keys.bias"),
    dead_because="they add one number to all values of a softmax, which ignores it",
    aliases=("multi-head-external-attention",),
    notes=("The 71.7 % of EAMLP-7 is at 384 px.", "The positions fix the image size."),
)

# d, depth, heads, ratio of the MLP
VARIANTS = {
    "eamlp-7": (256, 7, 4, 2.0),
    "eamlp-14": (384, 14, 6, 3.0),
    "eamlp-19": (448, 19, 7, 3.0),
    "eamlp-24": (512, 24, 8, 3.0),
}
BY_SIDE = (
    (24, (64, 4, 4, 2.0), (1, 1, 2)),
    (48, (128, 7, 4, 2.0), (1, 2, 2)),
    (112, VARIANTS["eamlp-7"], (2, 2, 2)),
)
LARGE = (VARIANTS["eamlp-7"], (4, 2, 2))
TOKEN_MEMORY = 128


class Attention(nn.Module):
    """Images (N, C, H, W) -> logits (N, classes); (H, W) is `size`.

    `drop_path` grows linearly over the blocks up to its value. Raises ValueError if the heads do not divide the
    width, or for strides other than three of 1, 2 and 4.
    """

    position: Tensor

    def __init__(
        self,
        classes: int,
        size: tuple[int, int],
        channels_in: int = 3,
        *,
        variant: Literal["auto", "eamlp-7", "eamlp-14", "eamlp-19", "eamlp-24"] = "auto",
        dim: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        mlp_ratio: float | None = None,
        strides: tuple[int, ...] | None = None,
        coef: int = 4,
        memory: int = 64,
        shared: bool = True,
        token_dim: int = 64,
        token_drop: float = 0.1,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        network, steps = default_network(min(size))
        network = VARIANTS.get(variant, network)
        d, count, heads = (c if g is None else g for g, c in zip((dim, depth, num_heads), network[:3], strict=True))
        ratio = network[3] if mlp_ratio is None else mlp_ratio
        if count < 1:
            raise ValueError(f"depth={count}: at least one block is needed")
        self.split = SoftSplit(channels_in, d, strides or steps, token_dim, token_drop)
        rows, columns = self.split.list_grids(size)[-1]
        self.cls = nn.Parameter(torch.empty(1, 1, d))
        self.register_buffer("position", sinusoidal_positions(rows * columns + 1, d), persistent=False)
        self.drop = nn.Dropout(proj_drop)
        self.blocks = nn.Sequential(
            *(
                ExternalAttentionBlock(
                    MultiHeadExternal(d, heads, coef, memory, shared, attn_drop, proj_drop), ratio, rate
                )
                for rate in torch.linspace(0, drop_path, count, device="cpu").tolist()
            )
        )
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, classes)
        initialize_network(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        t = self.split(x)
        z = torch.cat((self.cls.expand(len(t), -1, -1), t), dim=1)  # (N, L + 1, d)
        z = self.blocks(self.drop(z + self.position))
        return cast(Tensor, self.head(self.norm(z[:, 0])))


class MultiHeadExternal(nn.Module):
    """The attention itself: tokens (N, L, d) -> (N, L, d).

    Raises ValueError if `num_heads` does not divide d, or for a count below 1.
    """

    def __init__(
        self,
        d: int,
        num_heads: int = 8,
        coef: int = 4,
        memory: int = 64,
        shared: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if min(num_heads, coef, memory) < 1 or d % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide the width {d}, and coef and memory be at least 1")
        self.heads, width = coef * num_heads, d // num_heads
        memory_count = 1 if shared else self.heads
        self.expand = nn.Linear(d, coef * d)
        self.keys = ExternalMemory(memory_count, width, memory)
        self.values = ExternalMemory(memory_count, memory, width)
        self.attn_drop = nn.Dropout(attn_drop)
        self.project = nn.Linear(coef * d, d)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """Read the memories with every token."""
        u = self.expand(x).unflatten(-1, (self.heads, -1))  # (N, L, 4h, d / h)
        o = self.values(self.attn_drop(normalize_twice(self.keys(u)))).flatten(2)
        return cast(Tensor, self.proj_drop(self.project(o)))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what each token takes from the memory, mean over the heads."""
        u = self.expand(inputs[0]).unflatten(-1, (self.heads, -1))
        return [Observation("affinity", "memory units taken", normalize_twice(self.keys(u)).mean(2), tokens=True)]


class ExternalMemory(nn.Module):
    """A linear layer over the last axis of (N, L, heads, in), one for all heads or one per head."""

    def __init__(self, heads: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(heads, outputs))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, heads, in) -> (N, L, heads, out)."""
        if len(self.weight) == 1:
            return F.linear(x, self.weight[0], self.bias[0])
        return torch.einsum("nlhi,hoi->nlho", x, self.weight) + self.bias


def normalize_twice(a: Tensor) -> Tensor:
    """Take the softmax over the positions (axis 1), then scale the units (last axis) to sum 1."""
    a = a.softmax(1)
    return a / (1e-9 + a.sum(-1, keepdim=True))


class ExternalAttentionBlock(nn.Module):
    """Pre-norm block: external attention, then an MLP, both residual: (N, L, d) -> (N, L, d)."""

    def __init__(self, attention: MultiHeadExternal, ratio: float, drop_path: float) -> None:
        super().__init__()
        d = attention.project.out_features
        self.norm1 = nn.LayerNorm(d)
        self.attention = attention
        self.norm2 = nn.LayerNorm(d)
        self.mlp = make_mlp(d, int(d * ratio), attention.proj_drop.p)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, z: Tensor) -> Tensor:
        """Attend, then transform each token."""
        z = z + self.drop_path(self.attention(self.norm1(z)))
        return cast(Tensor, z + self.drop_path(self.mlp(self.norm2(z))))


class TokenModule(nn.Module):
    """A soft split's patches (N, L, p) -> tokens (N, L, d), mixed by single-head external attention."""

    def __init__(self, patch: int, d: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(patch)
        self.embed = nn.Linear(patch, d)
        self.keys = nn.Linear(d, TOKEN_MEMORY, bias=False)
        self.values = nn.Linear(TOKEN_MEMORY, d)
        self.project = nn.Linear(d, d)
        self.drop = nn.Dropout(drop)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = make_mlp(d, d, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Embed, attend, transform."""
        u = self.embed(self.norm1(x))
        o = self.project(self.values(self.drop(normalize_twice(self.keys(u)))))
        z = u + self.drop(o)
        return cast(Tensor, z + self.mlp(self.norm2(z)))


class SoftSplit(nn.Module):
    """Images (N, C, H, W) -> tokens (N, L, d) by three overlapping splits. Raises ValueError for other strides."""

    def __init__(self, channels_in: int, d: int, strides: tuple[int, ...], token_dim: int, drop: float) -> None:
        super().__init__()
        if len(strides) != 3 or not set(strides) <= {1, 2, 4}:
            raise ValueError(f"strides={list(strides)}: three of 1, 2 and 4 are needed")
        self.splits = [(7, 4, 2) if s == 4 else (3, s, 1) for s in strides]  # kernel, stride, padding
        widths = (channels_in, token_dim, token_dim)
        self.mix = nn.ModuleList(
            TokenModule(c * k * k, token_dim, drop) for c, (k, _, _) in zip(widths[:2], self.splits[:2], strict=True)
        )
        self.project = nn.Conv2d(token_dim, d, *self.splits[2])

    def forward(self, x: Tensor) -> Tensor:
        """Split, mix, put back as a map, twice; then split and project."""
        for mix, (k, s, p), grid in zip(self.mix, self.splits, self.list_grids(x.shape[2:]), strict=False):
            patches = F.unfold(x, k, stride=s, padding=p).transpose(1, 2)  # (N, L, C k k)
            x = mix(patches).transpose(1, 2).unflatten(2, grid)  # (N, token_dim, H', W')
        t: Tensor = self.project(x)
        return t.flatten(2).transpose(1, 2)

    def list_grids(self, size: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return (rows, columns) after each split of an image of (H, W)."""
        sizes = [(size[0], size[1])]
        for k, s, p in self.splits:
            h, w = sizes[-1]
            sizes.append(((h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1))
        return sizes[1:]


def make_mlp(d: int, hidden: int, drop: float) -> nn.Sequential:
    """Return two linear layers with GELU between them and dropout after each."""
    return nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Dropout(drop), nn.Linear(hidden, d), nn.Dropout(drop))


def default_network(side: int) -> tuple[tuple[int, int, int, float], tuple[int, ...]]:
    """Return ((d, depth, heads, ratio of the MLP), strides) for an image whose shorter side has `side` pixels."""
    return next(((network, strides) for below, network, strides in BY_SIDE if side < below), LARGE)


def sinusoidal_positions(length: int, d: int) -> Tensor:
    """Return fixed positions (1, length, d): sines at even, cosines at odd features, wavelengths up to 10000 * 2 pi."""
    feature = torch.arange(d, dtype=torch.float64)
    angle = torch.arange(length, dtype=torch.float64)[:, None] / 10000 ** (2 * (feature // 2) / d)
    return torch.where(feature % 2 == 0, angle.sin(), angle.cos())[None].to(torch.get_default_dtype())


def initialize_network(model: Attention) -> None:
    """Draw truncated normal weights of deviation 0.02, biases 0; M_v of the token modules is the transpose of M_k."""
    nn.init.trunc_normal_(model.cls, std=0.02)
    for m in model.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(m.weight, std=0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
    for m in model.modules():
        if isinstance(m, TokenModule):
            with torch.no_grad():
                m.values.weight.copy_(m.keys.weight.T)
