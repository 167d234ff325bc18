"""CBAM: a channel gate from mean and maximum, then a spatial gate from the maximum and mean over channels.

    M_c = sigmoid(sum over p of W1 relu(W0 p + b0) + b1),  p = mean and max of x over H, W      (N, C)
    x' = M_c * x
    M_s = sigmoid(BN(conv_k([max_c x' ; mean_c x'])))                                           (N, 1, H, W)
    y = M_s * x'                                                                                (N, C, H, W)

One MLP, h = C / r wide, serves every pooled vector, so b1 enters once for each. Learns 2Ch + h + C numbers in
the channel gate, 2k^2 + 2 in the spatial one. Cost: two pools and two products over x, little arithmetic.
The spatial norm starts with weight 0, hence M_s = 1/2: a new block halves its input, it is not the identity.

`order` arranges the two gates as Table 3 of the paper does. "channel-first" is the above. "spatial-first" takes M_s
from x and M_c from M_s * x. "parallel" takes both from x: y = M_s * M_c * x. The paper prints no formula for it; both
are multiplied, as in the other two orders. The number of parameters is the same in all three.

With `light` both gates see half of the sum of maximum and mean in place of two inputs: M_c = sigmoid(MLP of one p),
and the spatial kernel has k^2 numbers (timm's `lcbam`, a variant without a paper; there without biases).

Where the sources differ: the equations print neither biases nor the norm, the official code has both. Some ports
use PReLU, a spatial convolution with bias and no norm, or add x once more: we follow the official code. Its pool
puts the maximum first; others put the mean first, which matters only if weights are exchanged.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import max_mean
from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, promote_half, spatial_max, spatial_mean
from attncli.attention.plane_conv import PlaneConv2d

card = Card(
    title="CBAM: Convolutional Block Attention Module",
    venue="ECCV",
    year=2018,
    arxiv="1807.06521",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="Jongchan/attention-module@459efad MODELS/cbam.py",
    floor="hidden width max(C // reduction, 1): 1 at C = 16",
    aliases=(
        "convolutional-block-attention",
        "CBAMBlock",
        "CbamModule",
        "lcbam light=true mlp_bias=false",
        "LightCbam light=true mlp_bias=false",
        "LightCbamModule light=true mlp_bias=false",
    ),
    notes=(
        "The spatial norm starts with weight 0: the block outputs half of the channel-gated map at first.",
        "The spatial norm has momentum 0.01, so its running statistics need some hundred steps to settle.",
    ),
)

PoolType = Literal["avg", "max", "lp", "lse"]


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `channel` and `spatial` switch either gate off.

    `pool_types` are the pools of the channel gate: mean, maximum, L2 norm, log of the summed exponentials. With `light`
    their mean is the input, and the spatial gate sees one plane. `order` says which gate comes first (Table 3).
    Raises ValueError for an even kernel, no or unknown pools, a reduction below 1, both gates switched off, an unknown
    order, or an order of fewer than two gates.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        pool_types: tuple[Literal["avg", "max", "lp", "lse"], ...] = ("avg", "max"),
        bn_momentum: float = 0.01,
        mlp_bias: bool = True,
        channel: bool = True,
        spatial: bool = True,
        light: bool = False,
        order: Literal["channel-first", "spatial-first", "parallel"] = "channel-first",
    ) -> None:
        super().__init__()
        if not (channel or spatial):
            raise ValueError("channel=False and spatial=False leave nothing of the block")
        if order not in ("channel-first", "spatial-first", "parallel"):
            raise ValueError(f"order={order!r}: channel-first, spatial-first or parallel")
        if order != "channel-first" and not (channel and spatial):
            raise ValueError(f"order={order!r} needs both gates, and one of them is switched off")
        if not pool_types or set(pool_types) - {"avg", "max", "lp", "lse"}:
            raise ValueError(f"pool_types={list(pool_types)}: one or more of avg, max, lp, lse")
        self.pool_types, self.light, self.order = pool_types, light, order
        self.mlp = _make_channel_mlp(channels, reduction, mlp_bias) if channel else None
        self.spatial = _make_spatial_gate(1 if light else 2, kernel_size, bn_momentum) if spatial else None

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x and its positions, in the order of `order`."""
        return self._apply_gates(x)[0]

    def _apply_gates(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the weighed map and the gates that are switched on, in the order in which they were applied."""
        y, gates = x, []
        for part in (self.spatial, self.mlp) if self.order == "spatial-first" else (self.mlp, self.spatial):
            if part is None:
                continue
            compute = self.compute_channel_gate if part is self.mlp else self.compute_spatial_gate
            gates.append(compute(x if self.order == "parallel" else y, part))
            y = gate(y, gates[-1])
        return y, gates

    def compute_channel_gate(self, x: Tensor, mlp: nn.Module) -> Tensor:
        """Return M_c, (N, C)."""
        pooled = torch.stack([pool_positions(x, kind) for kind in self.pool_types])  # (P, N, C)
        return torch.sigmoid(mlp(pooled.mean(0)) if self.light else mlp(pooled).sum(0))

    def compute_spatial_gate(self, x: Tensor, convolution: nn.Module) -> Tensor:
        """Return M_s, (N, 1, H, W). By default x is the map that the channel gate has weighed."""
        z = max_mean(x, 1).contiguous(memory_format=torch.channels_last)  # its convolution is fast there
        z = z.mean(1, keepdim=True) if self.light else z
        return torch.sigmoid(convolution(z))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates that are switched on."""
        _, gates = self._apply_gates(*inputs)
        return [
            Observation("gate", "weight of each channel", g[:, :, None, None])
            if g.ndim == 2
            else Observation("gate", "weight of each position", g)
            for g in gates
        ]


def pool_positions(x: Tensor, kind: PoolType) -> Tensor:
    """Return one number per channel: (N, C, H, W) -> (N, C)."""
    if kind == "avg":
        return spatial_mean(x)
    if kind == "max":
        return spatial_max(x)
    values = promote_half(x)
    if kind == "lp":
        return torch.linalg.vector_norm(values, dim=(2, 3)).to(x.dtype)
    return values.flatten(2).logsumexp(2).to(x.dtype)


def _make_channel_mlp(channels: int, reduction: int, bias: bool) -> nn.Sequential:
    """Return two layers with the default weights of Linear and zero biases."""
    if reduction < 1:
        raise ValueError(f"reduction={reduction}: at least 1")
    h = max(channels // reduction, 1)
    squeeze, expand = nn.Linear(channels, h, bias), nn.Linear(h, channels, bias)
    if bias:
        nn.init.zeros_(squeeze.bias)
        nn.init.zeros_(expand.bias)
    return nn.Sequential(squeeze, nn.ReLU(), expand)


def _make_spatial_gate(planes: int, k: int, momentum: float) -> nn.Sequential:
    """Return a convolution from `planes` maps to one, and its norm of weight 0."""
    if k < 1 or k % 2 == 0:
        raise ValueError(f"kernel_size={k}: odd and positive, so that the map keeps its size")
    conv, bn = PlaneConv2d(planes, 1, k), nn.BatchNorm2d(1, momentum=momentum)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    nn.init.zeros_(bn.weight)
    return nn.Sequential(conv, bn)
