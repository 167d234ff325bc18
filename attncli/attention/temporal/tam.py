"""TAM: each channel of a clip mixes neighbouring frames with a kernel of the clip's own.

    q = mean of x over H, W                                               (N, C, T)
    a = sigmoid(L2 ReLU(BN(L1 q)))       L1: convolution over time, C -> C/beta, width K; L2: 1x1, back to C
    theta = softmax(G2 ReLU(BN(G1 q)))   G1: T -> alpha T, G2: alpha T -> K, the same for every channel   (N, C, K)
    y[n, c, t] = sum_j theta[n, c, j] a[n, c, t'] x[n, c, t'],   t' = t + j - (K-1)/2, zeros beyond the clip

Learns (K + 1) C^2 / beta + 2 C / beta + alpha T (T + 2 + K) numbers per site, no biases in convolutions and linear
layers, PyTorch's initialisation. Cost: one mean and K products over x; the branches are negligible. K = 1 leaves the
local gate alone: theta is 1 then, and its layers have no gradient.

It stands before the 3x3 convolution of every bottleneck, after the first convolution's norm and ReLU. The frames of
a clip lie side by side in the batch.

Where the sources differ: the kernel is normalised and not flipped, and the module has no shortcut of its own, as in
the official code. One convolution with a group for every clip and channel, as there, needs two copies of x in
another order; the same sum is taken here frame against frame in the layout that x has.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import spatial_mean

card = Card(
    title="TAM: Temporal Adaptive Module for Video Recognition",
    venue="ICCV",
    year=2021,
    arxiv="2005.06803",
    site="frames",
    code="liu-zhy/temporal-adaptive-module@5fcb46f ops/temporal_module.py",
    floor="hidden width max(C // beta, 1)",
    aliases=("ta-net", "temporal-adaptive-module"),
    notes=(
        "It mixes frames: on still images it has no meaning.",
        "T is fixed at construction.",
        "With one clip per device the norm of the local branch sees T values per channel.",
    ),
)


class Attention(nn.Module):
    """(N*T, C, H, W), the T frames of a clip adjacent -> the same shape.

    Raises ValueError for fewer than two frames, an even kernel, or alpha or beta below 1.
    """

    def __init__(self, channels: int, frames: int, *, kernel_size: int = 3, alpha: int = 2, beta: int = 4) -> None:
        super().__init__()
        if frames < 2:
            raise ValueError(f"tam mixes the frames of a clip: it needs at least 2, not {frames}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: the temporal kernel must be odd and positive")
        if min(alpha, beta) < 1:
            raise ValueError(f"alpha={alpha}, beta={beta}: both must be at least 1")
        hidden = max(channels // beta, 1)
        self.frames, self.kernel_size = frames, kernel_size
        self.kernel = nn.Sequential(
            nn.Linear(frames, alpha * frames, bias=False),
            nn.BatchNorm1d(alpha * frames),
            nn.ReLU(inplace=True),
            nn.Linear(alpha * frames, kernel_size, bias=False),
        )
        self.local = nn.Sequential(
            nn.Conv1d(channels, hidden, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv1d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix each clip's frames."""
        theta, a = self.kernels_and_gates(x)
        half = self.kernel_size // 2
        windows = F.pad(a, (half, half)).unfold(2, self.kernel_size, 1)  # (N, C, T, K)
        mix = (theta[:, :, None] * windows).permute(0, 2, 3, 1).to(x.dtype)  # (N, T, K, C)
        return cast(Tensor, _TemporalMix.apply(x.unflatten(0, (-1, self.frames)), mix)).flatten(0, 1)

    def kernels_and_gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the temporal kernels theta, (N, C, K), and the gates a, (N, C, T), of x, (N*T, C, H, W)."""
        q = spatial_mean(x).unflatten(0, (-1, self.frames)).transpose(1, 2)  # (N, C, T)
        theta = self.kernel(q.flatten(0, 1)).softmax(-1).unflatten(0, q.shape[:2])
        return theta, self.local(q).sigmoid()

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the temporal kernels and the gates of the frames."""
        theta, a = self.kernels_and_gates(inputs[0])
        names = tuple(f"{j:+d}" if j else "itself" for j in range(-(self.kernel_size // 2), self.kernel_size // 2 + 1))
        gates = a.transpose(1, 2).flatten(0, 1)[:, :, None, None]  # (N*T, C, 1, 1)
        kernels = Observation("choice", "weight of frames before and after", theta.transpose(1, 2), names=names)
        return [kernels, Observation("gate", "gate of each frame's channels", gates)]


class _TemporalMix(torch.autograd.Function):
    """sum_j mix[:, t, j] x[:, t + j - (K-1)/2] for x (N, T, C, H, W) and mix (N, T, K, C), without shifted copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mix: Tensor) -> Tensor:
        ctx.save_for_backward(x, mix)
        half = mix.shape[2] // 2
        y = x * mix[:, :, half, :, None, None]
        for j, to, of in _list_shifts(*mix.shape[1:3]):
            y[:, to].addcmul_(x[:, of], mix[:, to, j, :, None, None])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, mix = ctx.saved_tensors
        half = mix.shape[2] // 2
        grad_x, grad_mix = grad * mix[:, :, half, :, None, None], torch.zeros_like(mix)
        grad_mix[:, :, half] = (grad * x).sum((3, 4))
        for j, to, of in _list_shifts(*mix.shape[1:3]):
            grad_x[:, of].addcmul_(grad[:, to], mix[:, to, j, :, None, None])
            grad_mix[:, to, j] = (grad[:, to] * x[:, of]).sum((3, 4))
        return grad_x, grad_mix


def _list_shifts(frames: int, kernel_size: int) -> list[tuple[int, slice, slice]]:
    """Return (j, frames written, frames read) for each tap that reaches into the clip, without the middle one."""
    tap_shifts = [(j, j - kernel_size // 2) for j in range(kernel_size)]
    return [
        (j, slice(max(0, -d), frames - max(0, d)), slice(max(0, d), frames - max(0, -d)))
        for j, d in tap_shifts
        if 0 < abs(d) < frames
    ]
