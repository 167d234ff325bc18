"""GC (global context block): one mean over the map, weighed by a learned map, is transformed and added everywhere.

    a = softmax over positions of w . x + b                (N, 1, H, W)
    z = sum over positions of a * x                        (N, C)
    t = W2 relu(LN(W1 z + b1)) + b2                        (N, C), W1: (h, C), h = max(int(C * ratio), 4)
    y = x + t                                              (N, C, H, W), the same t at every position

W2 and b2 start at 0, so the block starts as the identity. Learns 2 C h + 3 h + 2 C + 1 numbers; b is dead, because
softmax ignores a constant. Cost: one product and sum over x to pool, one sum to add.

`fusion="mul"` is y = x * sigmoid(t), "both" is y = x * sigmoid(t') + t with two transforms of the same z; with
`pooling="avg"` z is the plain mean and w does not exist.

Where the sources differ: timm's `gc` is fusion mul with ratio 1/8 (its `gca` is the paper's sum), Keras' attention
models multiply with ratio 1/4, mmcv gives the ratio no default, and one collection never applies the softmax. The
floor of 4 is ours: the norm over a single hidden unit would be constant.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_mean
from attncli.attention.pairwise_attention import apply_pointwise

card = Card(
    title="GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond",
    venue="ICCV Workshops",
    year=2019,
    arxiv="1904.11492",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="xvjiarui/GCNet@029db54 mmdet/ops/gcb/context_block.py",
    stages=(2, 3, 4),
    identity=True,
    dead=("mask.bias",),
    dead_because="it adds one number to all values of a softmax, which ignores it",
    floor="hidden width max(int(C * ratio), min_hidden), min_hidden 4; on a 1 x 1 map the pooling is constant",
    notes=("timm's gc is model.options.fusion=mul with ratio 0.125: it multiplies by a sigmoid, the paper adds.",),
    aliases=("gca", "GCNet", "ContextBlock", "global-context"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `ratio` is hidden width / C. Raises ValueError for unknown forms or widths of 0."""

    def __init__(
        self,
        channels: int,
        *,
        ratio: float = 0.0625,
        min_hidden: int = 4,
        pooling: Literal["att", "avg"] = "att",
        fusion: Literal["add", "mul", "both"] = "add",
    ) -> None:
        super().__init__()
        if pooling not in ("att", "avg") or fusion not in ("add", "mul", "both"):
            raise ValueError(f"{pooling=}, {fusion=}: att or avg; add, mul or both")
        if ratio <= 0 or min_hidden < 1:
            raise ValueError(f"{ratio=}, {min_hidden=}: ratio must be positive, min_hidden at least 1")
        self.starts_as_identity = fusion == "add"  # a sigmoid starts at 1/2
        hidden = max(int(channels * ratio), min_hidden)
        self.mask = nn.Linear(channels, 1) if pooling == "att" else None
        if self.mask is not None:
            nn.init.kaiming_normal_(self.mask.weight)
            nn.init.zeros_(self.mask.bias)
        self.add = _make_transform(channels, hidden) if fusion != "mul" else None
        self.mul = _make_transform(channels, hidden) if fusion != "add" else None

    def forward(self, x: Tensor) -> Tensor:
        """Give every position the context of the map."""
        z = self.pool_context(x)
        y = x if self.mul is None else gate(x, torch.sigmoid(self.mul(z)))
        return y if self.add is None else y + self.add(z)[:, :, None, None].to(x.dtype)

    def pool_context(self, x: Tensor) -> Tensor:
        """Return z, (N, C)."""
        if self.mask is None:
            return spatial_mean(x)
        return (x.flatten(2) @ self.position_weights(x).to(x.dtype).transpose(1, 2)).squeeze(2)

    def position_weights(self, x: Tensor) -> Tensor:
        """Return a, (N, 1, HW): positive, sums to 1."""
        assert self.mask is not None
        return apply_pointwise(x, self.mask).flatten(2).softmax(2)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the weights of the positions in the context, relative to the plain mean's."""
        if self.mask is None:
            return []
        h, w = inputs[0].shape[2:]
        a = self.position_weights(inputs[0]).unflatten(2, (h, w)) * (h * w)
        return [Observation("gate", "weight of a position in the context", a)]


def _make_transform(channels: int, hidden: int) -> nn.Sequential:
    """Return the bottleneck with a norm in between, whose last layer is zero."""
    last = nn.Linear(hidden, channels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), last)
