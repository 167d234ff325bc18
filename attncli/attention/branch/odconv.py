"""ODConv (omni-dimensional dynamic convolution): each sample's kernel is weighed along all four of its axes.

    z = relu(BN(A mean of x over H, W))                  (N, m), m = max(int(C_in / 16), 16)
    a_c = sigmoid((W_c z + b_c) / tau)                   (N, C_in)    input channels
    a_f = sigmoid((W_f z + b_f) / tau)                   (N, C)       output channels
    a_s = sigmoid((W_s z + b_s) / tau)                   (N, k k)     taps
    a_w = softmax((W_w z + b_w) / tau)                   (N, K)       kernels
    y = a_f * (sum_k a_w,k a_s W_k) conv (a_c * x)       (N, C, H', W')

a_w is left out for K = 1, a_s for k = 1, a_f in depth-wise convolutions. Stands for a convolution without its norm.
Learns C_in m + 2 m, m C_in + C_in, m C + C, 9 m + 9, m K + K and K k^2 C_in C / g numbers. Cost: as CondConv's, and two
products over maps. All gates start near a half, so that y starts at about an eighth of a convolution.

tau falls linearly from `tau_start` to `tau_end` over the first epochs, if there are several kernels to choose from, and
is part of the state (see dyconv).

Where the sources differ: the paper's formula has gates of its own for each kernel, the code one for all, as here. The
authors replace the 1x1 convolutions of a block too; here the site `branch-convs` does, and `conv` the 3x3 ones alone. A
batch of one fails in training: BN on (1, m).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, is_channels_last, spatial_mean
from attncli.attention.safe_convolution import convolve_safely

card = Card(
    title="Omni-Dimensional Dynamic Convolution",
    venue="ICLR",
    year=2022,
    arxiv="2209.07947",
    site="conv",
    sites=("branch-convs",),
    code="OSVAI/ODConv@0901cc1 modules/odconv.py",
    floor="m = max(int(C_in * reduction), min_hidden), min_hidden 16",
    notes=(
        "Only the 3x3 convolutions are replaced; the authors' 28.64 M (1x) and 90.67 M (4x) need branch-convs.",
        "Training needs at least two samples in a batch.",
    ),
    aliases=("ODConv2d", "omni-dimensional"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `num_kernels` is K, `kernel` the side k.

    Raises ValueError for fewer than one kernel, an even one, a temperature or width that is not positive, or widths
    that the groups do not divide.
    """

    temperature: Tensor

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        num_kernels: int = 1,
        reduction: float = 0.0625,
        min_hidden: int = 16,
        kernel: int = 3,
        tau_start: float = 30.0,
        tau_end: float = 1.0,
        tau_anneal_epochs: int = 10,
    ) -> None:
        super().__init__()
        if num_kernels < 1 or kernel < 1 or kernel % 2 == 0 or min_hidden < 1 or reduction < 0:
            raise ValueError(f"{num_kernels=}, {kernel=}, {min_hidden=}, {reduction=}: positive, and the kernel odd")
        if min(tau_start, tau_end) <= 0 or tau_anneal_epochs < 0:
            raise ValueError(f"tau from {tau_start} to {tau_end} over {tau_anneal_epochs} epochs: tau must be positive")
        if groups < 1 or channels_in % groups or channels % groups:
            raise ValueError(f"{groups} groups do not divide {channels_in} input and {channels} output channels")
        self.stride, self.groups, self.kernel = stride, groups, kernel
        self.tau_start, self.tau_end, self.tau_anneal_epochs = tau_start, tau_end, tau_anneal_epochs
        # a matrix per kernel: Module.to(memory_format=...) fails on five axes
        self.weight = nn.Parameter(torch.empty(num_kernels, channels, channels_in // groups * kernel**2))
        hidden = max(int(channels_in * reduction), min_hidden)
        self.reduce = nn.Linear(channels_in, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        widths = {"channel": channels_in}
        widths |= {} if groups == channels_in == channels else {"filter": channels}
        widths |= {"spatial": kernel**2} if kernel > 1 else {}
        widths |= {"kernel": num_kernels} if num_kernels > 1 else {}
        self.gates = nn.ModuleDict({name: nn.Linear(hidden, width) for name, width in widths.items()})
        self._initialize_weights()
        self.register_buffer("temperature", torch.tensor(0.0))
        self.anneal(0)

    def _initialize_weights(self) -> None:
        for w in self.weight.unflatten(2, (-1, self.kernel, self.kernel)):
            nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer is not self.reduce:
                    nn.init.zeros_(layer.bias)

    def anneal(self, epoch: int) -> None:
        """Set tau for an epoch, counted from 0: linear from tau_start to tau_end, then constant.

        With one kernel nothing is chosen, and tau is tau_end from the start.
        """
        has_steps = self.tau_anneal_epochs and "kernel" in self.gates
        remaining_share = max(1 - epoch / self.tau_anneal_epochs, 0.0) if has_steps else 0.0
        self.temperature.fill_(self.tau_end + (self.tau_start - self.tau_end) * remaining_share)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each sample with its kernel."""
        gates = self.compute_gates(x)
        kernels = self.mix_kernels(gates).to(x.dtype)  # (N, C, C_in / g, k, k)
        y = convolve_samples(gate(x, gates["channel"]), kernels, self.stride, self.groups)
        return gate(y, gates["filter"]) if "filter" in gates else y

    def compute_gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates by name: channel (N, C_in), filter (N, C), spatial (N, k k), kernel (N, K)."""
        z = F.relu(self.norm(self.reduce(spatial_mean(x))))
        logits = {name: layer(z) / self.temperature for name, layer in self.gates.items()}
        return {name: t.softmax(1) if name == "kernel" else t.sigmoid() for name, t in logits.items()}

    def mix_kernels(self, gates: dict[str, Tensor]) -> Tensor:
        """Return the kernel of each sample, without the gates of the channels: (N, C, C_in / g, k, k)."""
        c = self.weight.shape[1]
        if "kernel" in gates:
            mixed = gates["kernel"].to(self.weight.dtype) @ self.weight.flatten(1)
        else:
            mixed = self.weight.flatten(1).expand(gates["channel"].shape[0], -1)
        kernels = mixed.view(mixed.shape[0], c, -1, self.kernel, self.kernel)
        if "spatial" in gates:
            kernels = kernels * gates["spatial"].view(-1, 1, 1, self.kernel, self.kernel).to(kernels.dtype)
        return kernels

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gate of the input's channels, and the weights of the kernels if there are several."""
        gates = self.compute_gates(inputs[0])
        seen = [Observation("gate", "weight of each input channel", gates["channel"][:, :, None, None])]
        if "kernel" in gates:
            seen.append(Observation("choice", "weight of each kernel", gates["kernel"]))
        return seen


def convolve_samples(x: Tensor, kernels: Tensor, stride: int, groups: int) -> Tensor:
    """Convolve each sample of x, (N, C_in, H, W), with its kernel, (N, C, C_in / g, k, k): (N, C, H', W').

    The batch is convolved as one sample of N C_in channels in N g groups.
    """
    n, c = kernels.shape[:2]
    strides, padding = (stride, stride), (kernels.shape[4] // 2, kernels.shape[4] // 2)
    image = x.reshape(1, -1, *x.shape[2:])
    y = convolve_safely(image, kernels.flatten(0, 1), None, strides, padding, groups=n * groups).unflatten(1, (n, c))[0]
    return y.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else y
