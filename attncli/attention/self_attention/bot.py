"""BoT (bottleneck transformer): attention between all positions of a small map, in place of a 3x3 convolution.

    q, k, v = W x                                        (N, C, H, W) each, 1x1 convolutions without bias
    score of query (i, j) and key (a, c) = (q . k + q . (R_h[a - i] + R_w[c - j])) / sqrt(d)     in each head
    y = softmax over keys of the scores, times v         (N, C, H, W), heads joined

4 heads of d = C / 4. R_h has 2 H - 1 rows of d, R_w 2 W - 1, shared by the heads. A stride is a 2x2 average pool after
it. Learns 3 C_in C + (2 H + 2 W - 2) d numbers. Cost: 3 C_in C HW and 2 C (HW)^2 multiply-adds: for small maps, so the
last stage only, whose first block attends before it pools. Projections start with deviation C_in^-1/2, tables d^-1/2.

Where the sources differ: the authors' code is a gist; its translation by lucidrains divides both terms by sqrt(d), as
here, timm's default only q . k (`scale_positions=False`). Ports also offer absolute positions, which the paper
compares. YOLO's `MHSA` blocks are variants with absolute positions or none (`relative=False`).
"""

from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.pairwise_attention import apply_pointwise
from attncli.attention.relative_attention import RelativePositions, score_pairs, split_heads, sum_values

card = Card(
    title="Bottleneck Transformers for Visual Recognition",
    venue="CVPR",
    year=2021,
    arxiv="2101.11605",
    site="conv",
    code="huggingface/pytorch-image-models@aa4b585 timm/layers/bottleneck_attn.py (scale_pos_embed=True)",
    stages=(4,),
    cifar_stages=(3,),
    floor="C must divide by the heads; on a 1 x 1 map its attention is constant",
    notes=(
        "Bound to the size of the map: a model built for one image size takes no other.",
        "timm's bottleneck is model.options.scale_positions=false.",
    ),
    aliases=("bottleneck", "BottleneckAttn", "botnet", "mhsa", "bottleneck-transformer"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `qkv_bias` gives the projections biases.

    Raises ValueError if the heads do not divide C, and in forward for a map of another size.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        size: tuple[int, int],
        stride: int = 1,
        *,
        heads: int = 4,
        qkv_bias: bool = False,
        relative: bool = True,
        scale_positions: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads, self.size, self.scale_positions = heads, tuple(size), scale_positions
        self.qkv = nn.Linear(channels_in, 3 * channels, bias=qkv_bias)
        nn.init.trunc_normal_(self.qkv.weight, std=channels_in**-0.5)
        width = channels // heads
        self.positions = RelativePositions(size, width, width**-0.5) if relative else None
        self.down = nn.AvgPool2d(2, 2, ceil_mode=True) if stride > 1 else nn.Identity()
        if stride not in (1, 2):
            raise ValueError(f"{stride=}: 1 or 2")

    def forward(self, x: Tensor) -> Tensor:
        """Let every position attend to all."""
        weights, v = self.attend(x)
        y = sum_values(weights, v).transpose(2, 3).reshape(x.shape[0], -1, *x.shape[2:])
        return self.down(y)

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights, (N, heads, HW, HW), and the values, (N, heads, HW, d)."""
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"built for {'x'.join(map(str, self.size))} maps, and got {'x'.join(map(str, x.shape[2:]))}"
            )
        q, k, v = (split_heads(t, self.heads) for t in apply_pointwise(x, self.qkv).chunk(3, 1))
        return score_pairs(q, k.flatten(2, 3), self.positions, self.scale_positions), v.flatten(2, 3)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what positions attend to, the mean of the heads."""
        h, w = inputs[0].shape[2:]
        return [
            Observation(
                "affinity", "positions attended to", self.attend(inputs[0])[0].mean(1), queries=(h, w), keys=(h, w)
            )
        ]
