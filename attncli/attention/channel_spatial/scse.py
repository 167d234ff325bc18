"""scSE: channels and positions are weighed side by side, and the two results joined.

    u = x * sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2)        channels (cSE), h = C / r wide
    v = x * sigmoid(w . x + b)                               positions (sSE), a 1x1 convolution to one map
    y = max(u, v), u + v, u * v or [u ; v]                   (N, C, H, W); [u ; v] has 2C channels

Learns 2Ch + h + C numbers for the channels and C + 1 for the positions. Cost: one mean, one product with a vector,
two gates. At sigmoid = 1/2 the output is x/2 (max), x (add) or x^2/4 (mul).

Where the sources differ: the first paper adds; the official code and the journal version take the maximum, which
the authors found best. The maximum is that of the signed products: of two weakened negative values it takes the
weaker. The official reduction is 2, which adds 20 million parameters to a ResNet-50: for classification set 16.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attncli.attention.axis_reductions import memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, is_channels_last, spatial_mean

card = Card(
    title="Concurrent Spatial and Channel 'Squeeze & Excitation' in Fully Convolutional Networks",
    venue="MICCAI",
    year=2018,
    arxiv="1803.02579",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="ai-med/squeeze_and_excitation@acdd26e squeeze_and_excitation/squeeze_and_excitation.py",
    floor="hidden width max(C // reduction, 1)",
    aliases=("scSE-module", "ChannelSpatialSELayer", "concurrent-spatial-and-channel-se"),
    notes=(
        "A method for segmentation: neither paper nor code gives figures for classification.",
        "The official reduction is 2; with 16 a ResNet-50 has 28.10 M parameters in place of 45.71 M.",
        "combine=concat returns 2C channels, so that it fits no site of a network that continues with C.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W), or (N, 2C, H, W) with combine="concat".

    `branches` keeps one of the two squeezes only. Raises ValueError for unknown options or a reduction below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        combine: Literal["max", "add", "mul", "concat"] = "max",
        branches: Literal["both", "channel", "spatial"] = "both",
    ) -> None:
        super().__init__()
        if reduction < 1 or combine not in ("max", "add", "mul", "concat"):
            raise ValueError(f"reduction={reduction}, combine={combine!r}: 1 or more; max, add, mul or concat")
        if branches not in ("both", "channel", "spatial"):
            raise ValueError(f"branches={branches!r}: both, channel or spatial")
        self.combine = combine
        h = max(channels // reduction, 1)
        mlp = nn.Sequential(nn.Linear(channels, h), nn.ReLU(), nn.Linear(h, channels))
        self.channel = None if branches == "spatial" else mlp
        self.spatial = None if branches == "channel" else nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh channels and positions of x, and join."""
        weighed_maps = []
        if self.channel is not None:
            weighed_maps.append(gate(x, compute_channel_gate(x, self.channel)))
        if self.spatial is not None:
            weighed_maps.append(gate(x, compute_spatial_gate(x, self.spatial)))
        return (
            weighed_maps[0] if len(weighed_maps) == 1 else combine_maps(weighed_maps[0], weighed_maps[1], self.combine)
        )

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates that are there."""
        (x,) = inputs
        observations = []
        if self.channel is not None:
            channel = compute_channel_gate(x, self.channel)[:, :, None, None]
            observations.append(Observation("gate", "weight of each channel", channel))
        if self.spatial is not None:
            observations.append(Observation("gate", "weight of each position", compute_spatial_gate(x, self.spatial)))
        return observations


def compute_channel_gate(x: Tensor, mlp: nn.Module) -> Tensor:
    """Return one weight per channel: (N, C, H, W) -> (N, C)."""
    return torch.sigmoid(mlp(spatial_mean(x)))


def compute_spatial_gate(x: Tensor, layer: nn.Linear) -> Tensor:
    """Return one weight per position: (N, C, H, W) -> (N, 1, H, W)."""
    return torch.sigmoid(project_channels(x, layer))


def project_channels(x: Tensor, layer: nn.Linear) -> Tensor:
    """Return the sum over the channels with the layer's weights, plus its bias: (N, C, H, W) -> (N, 1, H, W).

    A 1x1 convolution to one map, written as the product with a vector that it is: the convolution takes several
    times as long.
    """
    if is_channels_last(x):
        return usual_order(layer(memory_order(x, x)), x)
    n, _, h, w = x.shape
    return torch.bmm(layer.weight.expand(n, 1, -1), x.flatten(2)).view(n, 1, h, w) + layer.bias


def combine_maps(u: Tensor, v: Tensor, combine: str) -> Tensor:
    """Combine the two weighed maps into one."""
    if combine == "max":
        larger: Tensor = _SharedMaximum.apply(u, v)
        return larger
    if combine == "concat":
        return torch.cat((u, v), 1)
    return u + v if combine == "add" else u * v


class _SharedMaximum(torch.autograd.Function):
    """The larger of two values, of which equal ones share the gradient, as in `torch.maximum`.

    The gradient of that one is found with boolean masks, which take more than ten times as long.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(u, v)
        return torch.maximum(u, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        u, v = ctx.saved_tensors
        sign = (u - v).sign_()  # 1, 0 or -1
        for_u = torch.addcmul(grad, grad, sign).mul_(0.5)
        return for_u, grad - for_u
