"""Halo attention: positions of a block attend to the block and a halo around it, in place of a 3x3 convolution.

    the map in blocks of b x b; keys and values of a block come from the n x n window around it, n = b + 2 halo
    q, k, v = W_q x, W_k x, W_v x                        (N, C, H, W) each, 1x1 convolutions without bias
    score of query (r, s) and key (a, c) = (q . k + q . (R_h[a - r] + R_w[c - s])) / sqrt(d)     in each head
    y = softmax over the n^2 keys of the scores, times v                                         (N, C, H, W)

b 8, halo 3, 8 heads of d = C / 8. Offsets count from the window's first row and column; R_h and R_w have 2 n - 1 rows
of d, shared by the heads. A map that b does not divide is filled up: keys and values there are 0, as beyond its
border. A stride is a 2x2 average pool after it. Learns 3 C_in C + 2 (2 n - 1) d numbers. Cost: 3 C_in C HW and
2 C HW n^2 multiply-adds, H and W filled up in the second. Projections start with deviation C_in^-1/2, tables d^-1/2.

Where the sources differ: no official code was published. timm's default divides q . k only (`scale_positions=False`),
lucidrains divides both, as here. timm lets the zeros beyond the border take part, lucidrains masks them
(`mask_padding=True`). With a stride timm moves the queries unless it pools; HaloNet itself is no ResNet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.pairwise_attention import apply_pointwise
from attncli.attention.relative_attention import RelativePositions, score_pairs, sum_values

card = Card(
    title="Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
    venue="CVPR",
    year=2021,
    arxiv="2103.12731",
    site="conv",
    code="huggingface/pytorch-image-models@aa4b585 timm/layers/halo_attn.py (scale_pos_embed=True)",
    convs="last",
    zero_init_residual=True,
    floor="C must divide by the heads; maps are filled up to a multiple of the block",
    notes=(
        "Of a basic block's two convolutions it replaces the second: with both, the first gradient of resnet20 on "
        "images of 8 px is two million times that of the plain network.",
        "The first 2 halo rows of both tables are never used.",
        "timm's halo is model.options.scale_positions=false.",
    ),
    aliases=("HaloAttn", "HaloAttention", "halonet"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `block` is b.

    Raises ValueError for a block below 1, a negative halo, other strides than 1 and 2, or heads that do not divide C.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        *,
        block: int = 8,
        halo: int = 3,
        heads: int = 8,
        qkv_bias: bool = False,
        scale_positions: bool = True,
        mask_padding: bool = False,
    ) -> None:
        super().__init__()
        if block < 1 or halo < 0 or stride not in (1, 2):
            raise ValueError(
                f"{block=}, {halo=}, {stride=}: a block of 1 or more, a halo of 0 or more, a stride of 1 or 2"
            )
        if heads < 1 or channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.block, self.halo, self.window, self.heads = block, halo, block + 2 * halo, heads
        self.scale_positions, self.mask_padding = scale_positions, mask_padding
        width = channels // heads
        self.query = nn.Linear(channels_in, channels, bias=qkv_bias)
        self.key_value = nn.Linear(channels_in, 2 * channels, bias=qkv_bias)
        for layer in (self.query, self.key_value):
            nn.init.trunc_normal_(layer.weight, std=channels_in**-0.5)
        self.positions = RelativePositions((self.window, self.window), width, width**-0.5)
        self.down = nn.AvgPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Let every position attend to the window of its block."""
        h, w = x.shape[2:]
        weights, v = self.attend(x)  # (N, heads, rows, columns, b b, n n) and (..., n n, d)
        tile = (min(self.block, h), min(self.block, w))
        y = sum_values(weights, v).unflatten(4, tile)  # (N, heads, rows, columns, b, b, d)
        y = y.permute(0, 1, 6, 2, 4, 3, 5).flatten(5).flatten(3, 4).flatten(1, 2)[..., :h, :w]
        return self.down(y)

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights in each block, (N, heads, rows, columns, b b, n n), and the values (..., n n, d)."""
        h, w = x.shape[2:]
        down, right = -h % self.block, -w % self.block  # the rows and columns that fill up the map
        border = (self.halo, self.halo + right, self.halo, self.halo + down)
        tile = (min(self.block, h), min(self.block, w))  # of a map smaller than a block only its own positions
        queries = F.pad(apply_pointwise(x, self.query), (0, right, 0, down))
        q = self.cut(queries, tile)  # (N, heads, rows, columns, b, b, d)
        padded = F.pad(apply_pointwise(x, self.key_value), border)
        k, v = (t.flatten(4, 5) for t in self.cut(padded, (self.window, self.window)).chunk(2, -1))
        inside = F.pad(torch.ones(1, self.heads, h, w, device=q.device), border) if self.mask_padding else None
        return self.score(q, k, inside), v

    def cut(self, t: Tensor, sides: tuple[int, int]) -> Tensor:
        """Return a window of `sides` per block: (N, heads d, H, W) -> (N, heads, rows, columns, *sides, d)."""
        squares = t.unfold(2, sides[0], self.block).unfold(3, sides[1], self.block)
        return squares.unflatten(1, (self.heads, -1)).movedim(2, -1)

    def score(self, q: Tensor, k: Tensor, inside: Tensor | None) -> Tensor:
        """Return the weights: each row is a query, and sums to 1. Where `inside` is 0 a key gets none."""
        masked = None
        if inside is not None:
            windows = self.cut(inside, (self.window, self.window)).flatten(4)  # (1, heads, rows, columns, n n)
            masked = windows[..., None, :] == 0
        return score_pairs(q, k, self.positions, self.scale_positions, masked)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what the positions of the first block attend to in its window, the mean of the heads."""
        weights = self.attend(inputs[0])[0].mean(1)[:, 0, 0]  # (N, b b, n n)
        return [Observation("affinity", "places of the first block's window attended to", weights)]
