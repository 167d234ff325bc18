"""CondConv: each sample is convolved with its own mixture of E kernels.

    s = mean of x over H, W                              (N, C_in)
    a = sigmoid(R s + b)                                 (N, E)
    W(x) = sum_e a_e W_e                                 (N, C, C_in / g, k, k), one kernel per sample
    y = W(x) conv x                                      (N, C, H', W'); equal to sum_e a_e (W_e conv x)

Stands for a convolution, without its norm. Learns E k^2 C_in C / g + E C_in + E numbers (E C more with `bias`, which
is mixed like the kernels). Cost: one convolution, E k^2 C_in C / g multiply-adds per sample to mix, and memory for N
kernels; small maps, where mixing costs more than convolving, sum E convolutions instead.

Where the sources differ: each convolution has its router, as in the PyTorch ports; the authors' EfficientNets have
one router per block. The PyTorch code the maths is compared with shares one bias among the experts, drops out a fifth
of s, and draws the kernels with the fan of all experts at once; here, as with the authors, the bias is mixed, nothing
is dropped (`routing_dropout`), and each kernel is drawn for itself (normal, fan out). The paper tried softmax routing
too, and found it worse (`routing`).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import is_channels_last, match_layout, spatial_mean
from attncli.attention.safe_convolution import convolve_safely

card = Card(
    title="CondConv: Conditionally Parameterized Convolutions for Efficient Inference",
    venue="NeurIPS",
    year=2019,
    arxiv="1904.04971",
    site="conv",
    sites=("branch-convs",),
    code="nibuiro/CondConv-pytorch@888fd03 condconv/condconv.py",
    stages=(4,),
    cifar_stages=(3,),
    aliases=("conditional-convolution", "conditionally-parameterized-convolution", "cond-conv"),
    notes=(
        "In the last stage, for the paper's `later blocks` (its EfficientNets: from the fifth of seven groups on).",
        "One router per convolution; the authors have one per block.",
    ),
)

LARGE = 512  # positions from which a convolution for each sample is the faster one in channels_last,
WIDE = 32  # if there are so many channels: of 16 it takes as long in bf16, and up to twice as long in float32


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride).

    Raises ValueError for fewer than one expert, an even kernel, or widths that the groups do not divide.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        num_experts: int = 8,
        routing: Literal["sigmoid", "softmax"] = "sigmoid",
        routing_dropout: float = 0.0,
        kernel: int = 3,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if routing not in ("sigmoid", "softmax"):
            raise ValueError(f"routing={routing!r}: sigmoid or softmax")
        self.experts = Experts(channels, channels_in, stride, groups, num_experts, kernel, dilation, bias)
        self.softmax = routing == "softmax"
        self.dropout = nn.Dropout(routing_dropout)
        self.draws = routing_dropout > 0
        self.router = nn.Linear(channels_in, num_experts)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each sample with its kernel."""
        logits = self.router(self.dropout(spatial_mean(x)))
        y: Tensor = self.experts(x, logits.softmax(1) if self.softmax else logits.sigmoid())
        return y


class Experts(nn.Module):
    """E kernels (and biases) and the convolution with their mixtures: x (N, C_in, H, W), a (N, E) -> (N, C, H', W').

    `weight` is (E, C, k^2 C_in / g), a matrix an expert: `Module.to(memory_format=...)` fails on five axes.
    Each kernel is drawn for itself, normal with the fan out of one kernel (ReLU gain); biases are 0.
    """

    def __init__(
        self, c: int, c_in: int, stride: int, groups: int, experts: int, kernel: int, dilation: int, bias: bool
    ) -> None:
        super().__init__()
        if experts < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"{experts} kernels of {kernel}x{kernel}: give one or more, of odd size")
        if groups < 1 or c % groups or c_in % groups:
            raise ValueError(f"{groups} groups do not divide {c_in} input and {c} output channels")
        self.stride, self.dilation, self.groups, self.kernel = stride, dilation, groups, kernel
        self.padding = dilation * (kernel - 1) // 2
        self.weight = nn.Parameter(torch.empty(experts, c, c_in // groups * kernel**2))
        self.bias = nn.Parameter(torch.zeros(experts, c)) if bias else None
        for w in self.view_kernels():
            nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")

    def view_kernels(self) -> Tensor:
        """Return the experts' kernels as a view: (E, C, C_in / g, k, k)."""
        return self.weight.unflatten(2, (-1, self.kernel, self.kernel))

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        """Convolve with the mixtures, in the way that is cheapest for the size of the map."""
        a = a.to(x.dtype)
        y = choose_cheapest(self, x)(self, x, a)
        return y if self.bias is None else y + (a @ self.bias.to(a.dtype))[:, :, None, None]

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return how much of each kernel each sample takes."""
        return [Observation("choice", "weight of each kernel", inputs[1])]

    def convolve(self, x: Tensor, kernels: Tensor, groups: int) -> Tensor:
        """Convolve x, (N, C_in, H, W), with kernels, (C, C_in / groups, k, k), in the steps of this layer."""
        stride, padding, dilation = ((n, n) for n in (self.stride, self.padding, self.dilation))
        return convolve_safely(x, kernels, None, stride, padding, dilation, groups)

    def output_size(self, x: Tensor) -> tuple[int, int]:
        """Return (H', W') of the output."""
        reach = self.dilation * (self.kernel - 1) + 1
        h, w = ((side + 2 * self.padding - reach) // self.stride + 1 for side in x.shape[2:])
        return h, w


def sum_convolutions(m: Experts, x: Tensor, a: Tensor) -> Tensor:
    """Run all E convolutions, then take the weighted sum: no kernel per sample, E times the multiply-adds."""
    e, c = m.weight.shape[:2]
    g = m.groups
    kernels = m.view_kernels().unflatten(1, (g, c // g)).transpose(0, 1).flatten(0, 2)  # (g E C/g, C_in/g, k, k)
    y = m.convolve(x, kernels, g)
    a = a.to(y.dtype)
    if is_channels_last(x):
        rows = y.permute(0, 2, 3, 1).unflatten(3, (g, e, c // g))  # (N, H', W', g, E, C/g)
        return (rows * a[:, None, None, None, :, None]).sum(4).flatten(3).permute(0, 3, 1, 2)
    return (y.unflatten(1, (g, e, c // g)) * a[:, None, :, None, None, None]).sum(2).flatten(1, 2)


def convolve_grouped(m: Experts, x: Tensor, a: Tensor) -> Tensor:
    """Mix the kernels, then convolve the batch as one sample of N C_in channels in N g groups."""
    n, c = x.shape[0], m.weight.shape[1]
    kernels = (a @ m.weight.flatten(1)).view(n * c, -1, m.kernel, m.kernel)
    y = m.convolve(x.reshape(1, -1, *x.shape[2:]), kernels, n * m.groups).unflatten(1, (n, c))[0]
    return match_layout(y, x)


def multiply_batched(m: Experts, x: Tensor, a: Tensor) -> Tensor:
    """Mix the kernels, then multiply them with the columns of their samples."""
    n, c = x.shape[0], m.weight.shape[1]
    kernels = (a @ m.weight.flatten(1)).view(n * m.groups, c // m.groups, -1)  # (N g, C/g, k^2 C_in/g)
    columns = F.unfold(x, m.kernel, m.dilation, m.padding, m.stride).view(n * m.groups, kernels.shape[2], -1)
    return match_layout((kernels @ columns).view(n, c, *m.output_size(x)), x)


def convolve_each_sample(m: Experts, x: Tensor, a: Tensor) -> Tensor:
    """Mix the kernels, then convolve sample by sample, which keeps channels_last; a grouped convolution does not."""
    kernels = (a @ m.weight.flatten(1)).view(x.shape[0], m.weight.shape[1], -1, m.kernel, m.kernel)
    pairs = zip(x.split(1), kernels.unbind(), strict=True)
    return torch.cat([m.convolve(xi, w, m.groups) for xi, w in pairs])


def choose_cheapest(m: Experts, x: Tensor) -> Callable[[Experts, Tensor, Tensor], Tensor]:
    """Return the fastest of the four equal ways for the output's positions (measured on a CPU, widths 16 to 512).

    Mixing costs as much as about 64 positions of one more convolution. Mixed kernels are multiplied with columns,
    and not handed to a convolution, if they hold many more numbers than the columns; in float32, whose products are
    slower than its convolutions, if they hold very many more. Transposing a large map costs more than one convolution
    per sample. On a GPU the mixed kernels are multiplied with columns: that is one batched product, whereas a
    convolution of N groups is among the slowest kernels (a judgement, not a measurement).
    """
    e, c = m.weight.shape[:2]
    positions = math.prod(m.output_size(x))
    if (e - 1) * positions <= 64:
        return sum_convolutions
    if x.device.type != "cpu":
        return multiply_batched
    if positions * (4 if _uses_half_precision(x) else 32) <= c // m.groups:
        return multiply_batched
    is_best_per_sample = is_channels_last(x) and m.groups == 1 and positions >= LARGE and c >= WIDE
    return convolve_each_sample if is_best_per_sample else convolve_grouped


def _uses_half_precision(x: Tensor) -> bool:
    """Return whether products with x are taken in 16 bits."""
    return x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(x.device.type)
