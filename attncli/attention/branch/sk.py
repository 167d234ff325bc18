"""SK: each channel chooses between branches of different receptive fields.

    U_m = relu(BN_m(conv_m(x)))                          (N, C, H, W), m = 1..M; 3x3, dilated by m, G groups
    s = mean of sum_m U_m over H, W                      (N, C)
    z = relu(BN(A s))                                    (N, d), d = max(C // r, 32)
    a_m = exp(B_m z) / sum_j exp(B_j z)                  (N, C): softmax over the branches, channel by channel
    y = sum_m a_m * U_m                                  (N, C, H, W)

Stands for a 3x3 convolution with its norm and ReLU; y is never negative, so a ReLU that follows changes nothing.
Learns M (9 C_in C / G + 2 C) + C d + 2 d + M d C numbers, no biases; the branches stand for 9 C_in C / G' + 2 C.
Cost: M convolutions, a mean and a product over each branch.

The groups decide the size. The paper's block has G = 32 in a ResNeXt; here G is that of the convolution replaced
unless `branch_groups` says otherwise: 32 in a ResNeXt, 1 in a plain ResNet. There M dense branches make ResNet-50
11.7 M parameters larger (with G = 32 it would be 10.2 M smaller than the plain network). Name G with a result.

The paper's ablations are options. A branch with a true 5x5 kernel has 64 groups there, one with a dilated 3x3 has 32:
`kernel=[3, 5], dilations=[1, 1], branch_groups=[32, 64]`. One kernel alone is one branch without selection:
`dilations=[2], selection=false` is a dilated 3x3 that spans 5x5.

Where the sources differ: the authors' definition is Caffe; the maths is that of timm's class set up like it (whole
input to each branch; timm's default gives each branch its share of the input, here `split_input`). For basic blocks
the paper has no rule; as in timm, the first convolution is replaced. A batch of one fails in training: BN on (1, d).
"""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_mean
from attncli.attention.safe_convolution import replace_unsafe_convolutions

card = Card(
    title="Selective Kernel Networks",
    venue="CVPR",
    year=2019,
    arxiv="1903.06586",
    site="conv",
    code="huggingface/pytorch-image-models@aa4b585 timm/layers/selective_kernel.py, as implus/SKNet@17dd708 defines it",
    convs="first",
    replaces_norm=True,
    floor="d = max(C // r, min_hidden)",
    aliases=("sk-net", "skconv", "SKUnit", "selective-kernel"),
    notes=(
        "Name the groups G with every result: G is that of the replaced convolution unless branch_groups is set.",
        "Training needs at least two samples in a batch.",
    ),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride).

    `dilations`: one per branch; `kernel`: taps per side, one for all branches or one each (a true 5x5 is kernel (3, 5)
    with dilations (1, 1)); `branch_groups`: groups G, one number for all branches or one each; `split_input`: each
    branch sees its share of the input; `selection=False` only sums the branches, the paper's ablation.

    Raises ValueError for no branch, one branch with a selection, numbers of kernels or groups that are not those of the
    branches, an even kernel, or widths that the groups do not divide.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        dilations: tuple[int, ...] = (1, 2),
        kernel: int | tuple[int, ...] = 3,
        branch_groups: int | tuple[int, ...] | None = None,
        r: int = 16,
        min_hidden: int = 32,
        split_input: bool = False,
        selection: bool = True,
    ) -> None:
        super().__init__()
        m = len(dilations)
        kernels = kernel if isinstance(kernel, tuple) else (kernel,) * m
        branch_groups = groups if branch_groups is None else branch_groups
        cardinalities = branch_groups if isinstance(branch_groups, tuple) else (branch_groups,) * m
        _check_branch_counts(dilations, kernels, cardinalities, selection)
        _check_branch_widths(channels, channels_in, cardinalities, m if split_input else 1)
        self.split = channels_in // m if split_input else None
        self.branches = nn.ModuleList(
            _make_branch(self.split or channels_in, channels, k, stride, d, g)
            for k, d, g in zip(kernels, dilations, cardinalities, strict=True)
        )
        names = tuple(
            f"{k}x{k}" + (f", dilation {d}" if d > 1 else "") for k, d in zip(kernels, dilations, strict=True)
        )
        self.select = BranchSelection(channels, m, max(channels // r, min_hidden), names) if selection else None

    def forward(self, x: Tensor) -> Tensor:
        """Run the branches and add them up, each channel by the weights it chose."""
        parts = torch.split(x, self.split, 1) if self.split else [x] * len(self.branches)
        u: list[Tensor] = [branch(part) for branch, part in zip(self.branches, parts, strict=True)]
        if self.select is not None:
            u = [gate(u_m, a_m) for u_m, a_m in zip(u, self.select(u).unbind(1), strict=True)]
        return functools.reduce(torch.add, u)


class BranchSelection(nn.Module):
    """The branches' maps, M times (N, C, H, W) -> their weights (N, M, C), which sum to 1 over M."""

    def __init__(self, channels: int, m: int, hidden: int, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.m, self.names = m, names
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.expand = nn.Linear(hidden, m * channels, bias=False)
        for layer in (self.reduce, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, u: list[Tensor]) -> Tensor:
        """Weigh the branches by the mean of their sum."""
        s = torch.stack([spatial_mean(u_m) for u_m in u]).sum(0)  # (N, C)
        z = F.relu(self.norm(self.reduce(s)))
        logits: Tensor = self.expand(z).unflatten(1, (self.m, -1))  # (N, M, C)
        return logits.softmax(1).to(s.dtype)

    def observe(self, inputs: tuple[list[Tensor], ...], output: Tensor) -> list[Observation]:
        """Return the weights of the branches."""
        return [Observation("choice", "weight of each branch", output, names=self.names)]


def _make_branch(c_in: int, c: int, kernel: int, stride: int, dilation: int, groups: int) -> nn.Sequential:
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(c_in, c, kernel, stride, padding, dilation, groups, bias=False)
    replace_unsafe_convolutions(conv)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(c), nn.ReLU(inplace=True))


def _check_branch_counts(
    dilations: tuple[int, ...], kernels: tuple[int, ...], cardinalities: tuple[int, ...], selection: bool
) -> None:
    m = len(dilations)
    if not m or len(kernels) != m:
        raise ValueError(f"{m} dilations and {len(kernels)} kernels: give one or more branches, a kernel for each")
    if len(cardinalities) != m:
        raise ValueError(
            f"branch_groups={list(cardinalities)}: one number for each of the {m} branches, or one for all"
        )
    if m == 1 and selection:
        raise ValueError("one branch: there is nothing to select from; give two or more branches, or selection=false")
    if any(k < 1 or k % 2 == 0 for k in kernels):
        raise ValueError(f"kernel={list(kernels)}: kernels must be odd and positive")


def _check_branch_widths(c: int, c_in: int, cardinalities: tuple[int, ...], shares: int) -> None:
    if c_in % shares:
        raise ValueError(f"split_input: {c_in} channels do not split evenly over {shares} branches")
    width = c_in // shares
    for groups in cardinalities:
        if groups < 1 or c % groups or width % groups:
            raise ValueError(f"{groups} groups do not divide a branch's {width} input and {c} output channels")
