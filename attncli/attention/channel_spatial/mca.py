"""MCA (multidimensional collaborative attention): the mean of three gates, along channels, rows and columns.

    for each axis L of C, H, W
        a, s = mean and deviation (n - 1) of x over the other two axes                        (N, L)
        t = (1/2 + sigmoid(l_0)) a + (1/2 + sigmoid(l_1)) s                                   two learnt numbers l
        y_L = x * sigmoid(conv1d_k(t))                                                        no bias, zero padding
    y = (y_C + y_H + y_W) / 3                            (N, C, H, W)

k is 3 for rows and columns; for channels round(|(log2 C - 1) / 1.5|), the odd number below if it is even, at least 1.
Learns k + 12 numbers. Cost: three means, three deviations, one product. The l start uniform in (0, 1).

Where the sources differ: little. The option that the official class calls no_spatial leaves out the channel gate
(`channel=False`). A deviation of one number is not defined: on a 1 x 1 map it is 0 here. The name is shared with Moment
Channel Attention (AAAI 2024), another mechanism.
"""

import math

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.mean_deviation import mean_deviation
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, materialize_if_narrow, promote_half

card = Card(
    title="MCA: Multidimensional Collaborative Attention in Deep Convolutional Neural Networks for Image Recognition",
    venue="Engineering Applications of Artificial Intelligence",
    year=2023,
    arxiv=None,
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="ndsclark/MCANet@9766391 ImageNet/mca_module.py",
    no_weight_decay=("channel.mix", "rows.mix", "columns.mix"),
    floor="k for channels is at least 1; the deviation of a single number is 0",
    notes=("Not Moment Channel Attention, which has the same short name.",),
    aliases=("MCALayer", "MCANet", "multidimensional-collaborative-attention"),
)


class AxisGate(nn.Module):
    """The gate along one axis, 1, 2 or 3, of (N, C, H, W): shape (N, C, 1, 1), (N, 1, H, 1) or (N, 1, 1, W)."""

    def __init__(self, axis: int, kernel: int) -> None:
        super().__init__()
        self.others = tuple(other for other in (1, 2, 3) if other != axis)
        self.mix = nn.Parameter(torch.rand(2))
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gate of x."""
        mean, deviation = mean_deviation(x, self.others)
        a, s = 0.5 + torch.sigmoid(self.mix)
        t = a * mean + s * deviation
        return torch.sigmoid(self.conv(t.flatten(1)[:, None])).view_as(t)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `kernel` is that of rows and columns, `channel_kernel` None takes the rule.

    `channel=False` leaves out the gate of the channels. Raises ValueError for an even kernel.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int = 3,
        channel_kernel: int | None = None,
        channel: bool = True,
    ) -> None:
        super().__init__()
        if channel_kernel is None:
            channel_kernel = choose_kernel_size(channels)
        if min(kernel, channel_kernel) < 1 or kernel % 2 == 0 or channel_kernel % 2 == 0:
            raise ValueError(f"{kernel=}, {channel_kernel=}: kernels must be odd and positive")
        self.channel = AxisGate(1, channel_kernel) if channel else None
        self.rows, self.columns = AxisGate(2, kernel), AxisGate(3, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x by the mean of its gates."""
        values = promote_half(x)  # once for all gates
        positions = (self.rows(values) + self.columns(values)) / (2 if self.channel is None else 3)
        if self.channel is None:
            return gate(x, positions)
        parts = (positions, self.channel(values))  # (N, 1, H, W) and (N, C, 1, 1)
        positions, channel = (memory_order(materialize_if_narrow(part.to(x.dtype), x), x) for part in parts)
        return gate(x, usual_order(torch.add(positions, channel, alpha=1 / 3), x))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates whose mean weighs the map."""
        gates = (("each channel", self.channel), ("the rows", self.rows), ("the columns", self.columns))
        return [Observation("gate", f"weight of {name}", g(inputs[0])) for name, g in gates if g is not None]


def choose_kernel_size(channels: int) -> int:
    """Return the odd kernel size that grows with log2 C; 1 up to 26 channels."""
    k = round(abs((math.log2(channels) - 1) / 1.5))
    return max(k if k % 2 else k - 1, 1)
