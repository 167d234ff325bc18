"""CoT (contextual transformer): a 3x3 context, and a local convolution with kernels that it predicts.

    K = relu(BN(conv3x3 x))                              (N, C, H, W), 4 groups: the static context
    E = GN(W2 relu(BN(W1 [x ; K])) + b2)                 (N, C/8, 9, H, W): a 3x3 kernel per position, C/8 of them
    D_c = swish(BN(sum over taps of E_{c mod C/8} V_c))  (N, C, H, W), V = BN(1x1 x), zeros beyond the map
    w = softmax over the two of F2 relu(BN(F1 mean(D + K) + f1)) + f2                            (N, C, 2)
    y = w_0 D + w_1 K                                    (N, C, H, W)

GN normalises the 9 taps of a kernel over the map; there is no softmax over taps. F1 has max(C / 2, 32) units. Stands
for a 3x3 convolution with its norm and ReLU; a stride is a 3x3 average pool before it. Learns about
6.3 C^2 + 14 C numbers, less than the 9 C^2 that it replaces. Cost: 5 C^2 HW multiply-adds, 9 products per value.

Where the sources differ: the ports in many collections (`CoTAttention`) are another operator: a mean of the nine
taps, a softmax over all positions, no local convolution and no fusion. Channels share kernels interleaved: c mod C/8,
not c // 8. A batch of one fails in training: BN on (1, units).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.local_convolution import convolve_locally
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_mean

card = Card(
    title="Contextual Transformer Networks for Visual Recognition",
    venue="TPAMI",
    year=2021,
    arxiv="2107.12292",
    site="conv",
    code="JDAI-CV/CoTNet@895e024 models/cotnet.py",
    convs="last",
    replaces_norm=True,
    dead=("fuse.0.bias",),
    dead_because="a norm follows and takes it away",
    floor="C must equal C_in and divide by 8; F1 has max(C / 2, 32) units",
    notes=(
        "Training needs at least two samples in a batch.",
        "Of a basic block's two convolutions it replaces the second, which never widens the map.",
        "The host's ReLU follows it, which the official block has not.",
        "The published 81.3 comes from 350 epochs: compare with a plain ResNet-50 of the same recipe.",
    ),
    aliases=("CoTAttention", "CotLayer", "contextual-transformer", "CoTNet"),
)

SHARED = 8  # channels per kernel
KEY_GROUPS = 4


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `kernel` is odd; `reduction` that of E's hidden layer.

    Raises ValueError for widths that differ or that 8 does not divide, or for an even kernel.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        *,
        kernel: int = 3,
        reduction: int = 4,
        min_hidden: int = 32,
    ) -> None:
        super().__init__()
        if channels != channels_in or channels % SHARED:
            raise ValueError(f"{channels_in} channels in and {channels} out: they must be equal and divide by {SHARED}")
        if kernel < 1 or kernel % 2 == 0 or reduction < 1 or min_hidden < 1:
            raise ValueError(f"{kernel=}, {reduction=}, {min_hidden=}: an odd kernel, and both at least 1")
        c, kernels = channels, channels // SHARED
        self.down = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.key = _conv_norm(c, c, kernel, KEY_GROUPS)
        self.embed = nn.Sequential(
            *_conv_norm(2 * c, max(2 * c // reduction, 1)),
            nn.ReLU(),
            nn.Conv2d(max(2 * c // reduction, 1), kernel * kernel * kernels, 1),
            nn.GroupNorm(kernels, kernel * kernel * kernels),
        )
        self.value = _conv_norm(c, c)
        self.norm = nn.BatchNorm2d(c)
        hidden = max(c // 2, min_hidden)
        self.fuse = nn.Sequential(nn.Linear(c, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2 * c))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the dynamic and the static context."""
        dynamic, static = self.compute_contexts(x)
        w = self.weigh_contexts(dynamic, static)
        return gate(dynamic, w[:, :, 0]) + gate(static, w[:, :, 1])

    def compute_contexts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return D and K, each (N, C, H', W')."""
        x = self.down(x)
        static = F.relu(self.key(x))
        kernels = self.embed(torch.cat((x, static.to(x.dtype)), 1)).unflatten(1, (x.shape[1] // SHARED, -1))
        value = self.value(x).unflatten(1, (SHARED, -1)).transpose(1, 2)  # channels that share a kernel side by side
        local = convolve_locally(value, kernels.to(value.dtype)).transpose(1, 2).flatten(1, 2)
        return F.silu(self.norm(local)), static

    def weigh_contexts(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Return w, (N, C, 2): positive, sums to 1 over D and K."""
        logits: Tensor = self.fuse(spatial_mean(dynamic) + spatial_mean(static))
        return logits.unflatten(1, (-1, 2)).softmax(2)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the weights of the two contexts."""
        weights = self.weigh_contexts(*self.compute_contexts(inputs[0]))
        return [Observation("choice", "weight of each context", weights.transpose(1, 2), names=("dynamic", "static"))]


def _conv_norm(c_in: int, c: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(c))
