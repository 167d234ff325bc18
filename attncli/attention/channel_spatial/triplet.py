"""Triplet attention: three gates, each on a map that one of the axes C, H, W was pooled away from.

    g_ab = sigmoid(BN(conv_k([max ; mean of x over the third axis])))     a map over the axes a (rows) and b
    y = x * (g_hw + g_cw + g_hc) / 3                                      (N, C, H, W)

g_hw is (N, H, W), g_cw is (N, C, W), pooled over H, and g_hc is (N, H, C), pooled over W: the rows are H there, so
that the kernels fit the official weights. Learns 3 (2 k^2 + 2) numbers, whatever the width. Cost: three reductions
and one product over x; nothing is permuted or copied, as the sum of the gates broadcasts.

Where the sources differ: the equation omits the norms, the code has them. The released class fixes k = 7 and its
README publishes k = 3 too. The code of its ResNets, taken from CBAM, starts the norm of the plain spatial gate at
weight 0, so that g_hw = 1/2 at first, and draws the kernels from Kaiming's normal distribution: so do we. The newer
class by itself does neither (`zero_spatial=False` for the norm).
"""

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import max_mean, memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import materialize_if_narrow
from attncli.attention.plane_conv import PlaneConv2d

card = Card(
    title="Rotate to Attend: Convolutional Triplet Attention Module",
    venue="WACV",
    year=2021,
    arxiv="2010.03045",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="landskape-ai/triplet-attention@2cf02fb triplet_attention.py",
    aliases=("triplet-attention", "rotate-to-attend"),
    notes=("The norms have momentum 0.01, so their running statistics need some hundred steps to settle.",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `no_spatial` leaves out g_hw and divides by 2.

    `zero_spatial` starts the norm of g_hw at weight 0. Raises ValueError for an even kernel.
    """

    def __init__(
        self,
        *,
        kernel_size: int = 7,
        no_spatial: bool = False,
        zero_spatial: bool = True,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: odd and positive, so that the maps keep their size")
        self.cw = _make_plane_gate(kernel_size, bn_momentum)
        self.hc = _make_plane_gate(kernel_size, bn_momentum)
        self.hw = (
            None if no_spatial else _make_plane_gate(kernel_size, bn_momentum, weight=0.0 if zero_spatial else 1.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x by the mean of the gates of its column, its row and its position."""
        cw, hc = self.compute_strip_gates(x)
        share = 1 / 2 if self.hw is None else 1 / 3
        s = memory_order(materialize_if_narrow(cw * share, x), x) + memory_order(
            materialize_if_narrow(hc * share, x), x
        )
        if self.hw is not None:
            s = s + memory_order(materialize_if_narrow(_compute_gate(self.hw, max_mean(x, 1)) * share, x), x)
        return usual_order(memory_order(x, x) * s, x)

    def compute_strip_gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return g_cw, (N, C, 1, W), and g_hc, (N, C, H, 1)."""
        cw = _compute_gate(self.cw, max_mean(x, 2).transpose(1, 2)).transpose(1, 2)
        return cw, _compute_gate(self.hc, max_mean(x, 3).permute(0, 3, 2, 1)).permute(0, 3, 2, 1)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the two or three gates whose mean weighs the map."""
        (x,) = inputs
        cw, hc = self.compute_strip_gates(x)
        observations = [Observation("gate", "weight of the columns", cw), Observation("gate", "weight of the rows", hc)]
        if self.hw is not None:
            observations.append(Observation("gate", "weight of each position", _compute_gate(self.hw, max_mean(x, 1))))
        return observations


def _compute_gate(gate: nn.Module, pooled: Tensor) -> Tensor:
    """Return (N, 2, A, B) -> (N, 1, A, B); convolutions of two maps have a fast gradient in channels_last only."""
    weights: Tensor = gate(pooled.contiguous(memory_format=torch.channels_last))
    return weights.sigmoid()


def _make_plane_gate(k: int, momentum: float, weight: float = 1.0) -> nn.Sequential:
    """Return the gate of a plane: from the two pooled maps to one."""
    conv, bn = PlaneConv2d(2, 1, k), nn.BatchNorm2d(1, momentum=momentum)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    nn.init.constant_(bn.weight, weight)
    return nn.Sequential(conv, bn)
