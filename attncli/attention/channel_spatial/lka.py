"""LKA (large kernel attention): x is multiplied by what a large kernel sees, in three cheap parts.

    A = P(D(S(x)))                                       (N, C, H, W)
    y = x * A                                            (N, C, H, W)

S is a depth-wise 5x5, D a depth-wise 7x7 with dilation 3, P a 1x1 convolution, all with biases, without norm or
activation: together they see 23 x 23. `separable` (LSKA) splits S and D into rows and columns; with it `kernel` may be
7, 11, 23, 35, 41 or 53. `block` is VAN's: y = x + P2(LKA(gelu(P1 x))). Learns C^2 + 77 C numbers; separable
C^2 + (2 a + 2 b + 5) C for sides a and b, 29 C at 23; the block 2 C^2 + 2 C more. Cost: (74 + C) C HW multiply-adds.

Nothing bounds A, and y is quadratic in x. Weights start normal with variance 2 over the fan out, biases 0, as in VAN:
A is noise about as large as x, so a new block is far from the identity. VAN itself has a shortcut around the block
and scales it by 0.01.

Where the sources differ: the paper has no ResNet; inside the branch, before its last convolution, is where such gates
are compared. LSKA's text lists five kernels, its class six.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.depthwise_conv import make_depthwise_conv

card = Card(
    title="Visual Attention Network",
    venue="Computational Visual Media",
    year=2023,
    arxiv="2202.09741",
    site="mid",
    sites=("gate", "pre-norm", "block-input", "stage", "head"),
    code="Visual-Attention-Network/VAN-Classification@e19779b models/van.py",
    notes=(
        "It starts far from the identity: in a pretrained network it destroys what was learnt.",
        "Its 23 x 23 window is larger than a CIFAR map: there most dilated taps see padding.",
        "separable=true is LSKA (arXiv 2309.01439, StevenLauHKHK/Large-Separable-Kernel-Attention@bb2a8d2).",
    ),
    aliases=("large-kernel-attention", "lska separable=true", "VAN block=true"),
)

PARTS = {7: (3, 3, 2), 11: (3, 5, 2), 23: (5, 7, 3), 35: (5, 11, 3), 41: (5, 13, 3), 53: (5, 17, 3)}  # a, b, dilation


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `kernel` is the side of the window. Raises ValueError for an unknown one."""

    def __init__(self, channels: int, *, kernel: int = 23, separable: bool = False, block: bool = False) -> None:
        super().__init__()
        if kernel not in PARTS:
            raise ValueError(f"{kernel=}: one of {', '.join(map(str, PARTS))}")
        small, large, dilation = PARTS[kernel]
        layers: list[nn.Module] = []
        for side, step in ((small, 1), (large, dilation)):
            kernels = [(1, side), (side, 1)] if separable else [(side, side)]
            layers += [make_depthwise_conv(channels, k, step) for k in kernels]
        self.window = nn.Sequential(*layers, nn.Conv2d(channels, channels, 1))
        self.project_in = nn.Conv2d(channels, channels, 1) if block else None
        self.project_out = nn.Conv2d(channels, channels, 1) if block else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels / module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # torch types it as optional

    def forward(self, x: Tensor) -> Tensor:
        """Multiply x by what the window sees."""
        if self.project_in is None or self.project_out is None:
            return x * self.window(x).to(x.dtype)
        u = F.gelu(self.project_in(x))
        y: Tensor = self.project_out(u * self.window(u).to(u.dtype))
        return x + y
