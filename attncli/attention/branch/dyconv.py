"""Dynamic convolution: each sample is convolved with a mean of K kernels, weighed by a small gate with a temperature.

    s = mean of x over H, W                              (N, C_in)
    p = softmax((B relu(A s) + b) / tau)                 (N, K), A: h x C_in, h = int(C_in / 4) + 1
    W(x) = sum_k p_k W_k                                 (N, C, C_in / g, 3, 3), one kernel per sample
    y = W(x) conv x                                      (N, C, H', W')

tau falls linearly from 30 to 1 over the first 10 epochs (`anneal`, called by the training loop) and is part of the
state: near-uniform weights at first let all kernels learn; the paper's half-width MobileNetV2 is worse than the
static network with tau = 1 from the start. Stands for a convolution, without its norm. Learns
K k^2 C_in C / g + h C_in + K h + K numbers (K C more with `bias`, mixed alike). Cost: as CondConv's.

Where the sources differ: the authors released no code. In the code followed, tau starts at 34 and falls by 3 a call
that the user must make, and is lost on saving; the paper's schedule stands here. That code has h = K for 3 channels
in, which a network's first convolution, left static by the paper, would meet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.branch.condconv import Experts
from attncli.attention.card import Card
from attncli.attention.ops import spatial_mean

card = Card(
    title="Dynamic Convolution: Attention over Convolution Kernels",
    venue="CVPR",
    year=2020,
    arxiv="1912.03458",
    site="conv",
    sites=("branch-convs",),
    code="kaijieshi7/Dynamic-convolution-Pytorch@4befa50 dynamic_conv.py",
    floor="h = int(C_in * reduction) + 1",
    aliases=("dynamic-convolution", "dynamic-conv", "Dynamic_conv2d", "dy-conv"),
    notes=("The first convolution of the network and its 1x1 convolutions stay static.",),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride).

    h is `hidden`, or int(C_in * `reduction`) + 1. Raises ValueError for a temperature or width that is not positive,
    fewer than one kernel, an even kernel, or widths that the groups do not divide.
    """

    temperature: Tensor

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        num_kernels: int = 4,
        reduction: float = 0.25,
        hidden: int | None = None,
        tau_start: float = 30.0,
        tau_end: float = 1.0,
        tau_anneal_epochs: int = 10,
        kernel: int = 3,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if hidden is None:
            hidden = num_kernels if channels_in == 3 else int(channels_in * reduction) + 1
        if hidden < 1 or reduction < 0:
            raise ValueError(f"hidden={hidden}, reduction={reduction}: the hidden width must be positive")
        if min(tau_start, tau_end) <= 0 or tau_anneal_epochs < 0:
            raise ValueError(f"tau from {tau_start} to {tau_end} over {tau_anneal_epochs} epochs: tau must be positive")
        self.tau_start, self.tau_end, self.tau_anneal_epochs = tau_start, tau_end, tau_anneal_epochs
        self.experts = Experts(channels, channels_in, stride, groups, num_kernels, kernel, dilation, bias)
        self.reduce = nn.Linear(channels_in, hidden, bias=False)
        self.expand = nn.Linear(hidden, num_kernels)
        self._initialize_weights()
        self.register_buffer("temperature", torch.tensor(0.0))
        self.anneal(0)

    def _initialize_weights(self) -> None:
        for w in self.experts.view_kernels():
            nn.init.kaiming_uniform_(w)
        for layer in (self.reduce, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.expand.bias)

    def anneal(self, epoch: int) -> None:
        """Set tau for an epoch, counted from 0: linear from tau_start to tau_end, then constant."""
        remaining_share = max(1 - epoch / self.tau_anneal_epochs, 0.0) if self.tau_anneal_epochs else 0.0
        self.temperature.fill_(self.tau_end + (self.tau_start - self.tau_end) * remaining_share)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each sample with its kernel."""
        y: Tensor = self.experts(x, self.kernel_weights(x))
        return y

    def kernel_weights(self, x: Tensor) -> Tensor:
        """Return p, (N, K): positive, each row sums to 1."""
        logits: Tensor = self.expand(F.relu(self.reduce(spatial_mean(x))))
        return (logits / self.temperature).softmax(1)
