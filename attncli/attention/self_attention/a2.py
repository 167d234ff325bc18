"""A2 (double attention): descriptors are gathered from the whole map, then distributed to its positions.

    f = W_f x + b_f                                      (N, m, HW) features
    b = softmax over positions of W_g x + b_g            (N, n, HW) gather maps
    v = softmax over the n channels of W_d x + b_d       (N, n, HW) distribute maps
    G = f b^T                                            (N, m, n), n descriptors of the map
    y = x + W_e (G v) + b_e                              (N, C, H, W)

All W are 1x1 convolutions; m = n = C // 2. Learns 2 C m + 2 C n + m + 2 n + C numbers; b_g is dead, because softmax
ignores a constant. Cost: 4 convolutions and HW (m n + n m) multiply-adds: linear in the number of positions.

Where the sources differ: the authors published no code. The published 33.0 M of a ResNet-50 need m = n = C / 2, the
port followed has C / 4 in its networks. Two much copied ports call softmax without an axis, which mixes the samples of
a batch; two others take positions for both; four leave out the sum with x. The paper has one pair of maps,
the port may split them into heads (here: one).
"""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import is_channels_last
from attncli.attention.pairwise_attention import apply_pointwise

card = Card(
    title="A^2-Nets: Double Attention Networks",
    venue="NeurIPS",
    year=2018,
    arxiv="1810.11579",
    site="stage",
    sites=("head", "block-input"),
    code="d-li14/dot-product-attention@c0efdea a2net/double_attention.py",
    stages=(2, 3),
    blocks=(1, 3, 5),
    dead=("gather.bias",),
    dead_because="it adds one number to all values of a softmax, which ignores it",
    floor="m = n = max(C // reduction, 1); on a 1 x 1 map the gather map is constant",
    notes=(
        "Two blocks in stage 2 and three in stage 3 of a ResNet-50, as in the paper.",
        "It does not start as the identity, unless model.options.zero_init=true.",
        "Nothing normalises it: large activations saturate the gather softmax.",
    ),
    aliases=("double", "double-attention", "a2-net", "dot-product-attention"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). m is `features`, n is `maps`; None is C // `reduction`.

    `residual=False` leaves out the sum with x; `zero_init` starts W_e and b_e at 0, so that the block starts as the
    identity. Raises ValueError if a width or the reduction is below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        features: int | None = None,
        maps: int | None = None,
        residual: bool = True,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        width = max(channels // max(reduction, 1), 1)
        m, n = width if features is None else features, width if maps is None else maps
        if min(m, n, reduction) < 1:
            raise ValueError(f"{reduction=}, {features=}, {maps=}: all must be at least 1")
        self.feature, self.gather, self.distribute = (nn.Linear(channels, k) for k in (m, n, n))
        self.expand = nn.Linear(m, channels)
        self.residual = residual
        self.starts_as_identity = zero_init and residual
        if zero_init:
            nn.init.zeros_(self.expand.weight)
            nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Give every position its mixture of descriptors."""
        f = apply_pointwise(x, self.feature).flatten(2)
        b, v = self.compute_maps(x)
        descriptors = f @ b.to(f.dtype).transpose(1, 2)  # (N, m, n)
        z = (descriptors @ v.to(f.dtype)).unflatten(2, x.shape[2:])
        y = apply_pointwise(z.contiguous(memory_format=_memory_format(x)), self.expand)
        return x + y if self.residual else y

    def compute_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gather and the distribute maps, each (N, n, HW); sums over positions, or over maps, are 1."""
        gather, distribute = (apply_pointwise(x, layer).flatten(2) for layer in (self.gather, self.distribute))
        return gather.softmax(2), distribute.softmax(1)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return how much each position takes from each other through the descriptors."""
        size = (inputs[0].shape[2], inputs[0].shape[3])
        b, v = self.compute_maps(inputs[0])
        return [Observation("affinity", "positions gathered from", v.transpose(1, 2) @ b, queries=size, keys=size)]


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format
