"""Involution: each position is summed up with a kernel that is made from the position itself.

    E = W2 relu(BN(W1 x')) + b2                          (N, G, k^2, H', W'), x' = x or its s x s mean, G = C / 16
    y[c, i, j] = sum over taps of E[c // 16, tap, i, j] x[c, s i + a - k // 2, s j + b - k // 2]

Kernels differ from position to position and are shared by 16 neighbouring channels: a convolution turned inside out.
Stands for a 3x3 convolution; the norm and ReLU that follow it stay. k 7, W1 has C / 4 units. Learns
C^2 / 4 + C / 2 + k^2 G (C / 4 + 1) numbers. Cost: (C / 4 + k^2 C / 64) C HW multiply-adds, and k^2 C HW products that
count as element-wise work here. Nothing bounds the kernels.

Where the sources differ: little. Weights are Kaiming normal (fan out) and biases 0, as the official code's mmcv draws
them. RedNet has an involution in its stem too (15.54 M, here 15.53 M). The official class fails on odd maps with stride
2; here the last mean is then over what is left. timm removed it as not worth its cost.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.local_convolution import convolve_locally
from attncli.attention.observation import Observation

card = Card(
    title="Involution: Inverting the Inherence of Convolution for Visual Recognition",
    venue="CVPR",
    year=2021,
    arxiv="2103.06255",
    site="conv",
    code="d-li14/involution@21c3158 cls/mmcls/models/utils/involution_naive.py",
    convs="last",
    zero_init_residual=True,
    floor="C must equal C_in and divide by group_channels (16); W1 has max(C // reduction, 1) units",
    notes=(
        "Of a basic block's two convolutions it replaces the second, which never widens the map.",
        "Its output is a product of its input and kernels made from it, so in evaluation it squares what running "
        "statistics lag behind. Branches that start at zero, as in the official code, prevent it.",
        "The k^2 products per value count as element-wise work, so MACs are lower than the published 2.71 G.",
    ),
    aliases=("rednet", "inv"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `kernel` is k, `group_channels` share one.

    Raises ValueError for an even kernel, widths that differ, or groups that do not divide them.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        *,
        kernel: int = 7,
        group_channels: int = 16,
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0 or reduction < 1:
            raise ValueError(f"{kernel=}, {reduction=}: an odd kernel, and a reduction of at least 1")
        if channels != channels_in or group_channels < 1 or channels % group_channels:
            raise ValueError(
                f"{channels_in} channels in and {channels} out: they must be equal and divide by {group_channels}"
            )
        self.stride, self.groups = stride, channels // group_channels
        hidden = max(channels // reduction, 1)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, kernel * kernel * self.groups, 1)
        for layer in (self.reduce, self.expand):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.expand.bias)  # type: ignore[arg-type]  # torch types it as optional

    def forward(self, x: Tensor) -> Tensor:
        """Sum each position's window up with its own kernel."""
        kernels = self.predict_kernels(x).to(x.dtype)
        return convolve_locally(x.unflatten(1, (self.groups, -1)), kernels, self.stride).flatten(1, 2)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return how large the kernel of each position is, the sum of its taps' sizes, the mean of the groups."""
        strength = self.predict_kernels(inputs[0]).abs().sum(2).mean(1, keepdim=True)
        return [Observation("gate", "size of each position's kernel", strength)]

    def predict_kernels(self, x: Tensor) -> Tensor:
        """Return E, (N, G, k^2, H', W')."""
        x = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
        kernels: Tensor = self.expand(F.relu(self.norm(self.reduce(x))))
        return kernels.unflatten(1, (self.groups, -1))
