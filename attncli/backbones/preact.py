"""Pre-activation ResNets (He et al., 2016b) and wide ResNets (Zagoruyko and Komodakis, 2016).

A block is norm, ReLU, 3x3, norm, ReLU, 3x3; if the width or size changes, a 1x1 convolution of the activated input
is the shortcut. The network ends with norm and ReLU. preactresnet18 has the four stages of resnet18, the others three
as CIFAR networks have: preactresnetD of 16, 32 and 64 channels, wide_resnetD_k k times as wide (no dropout).

Without `cifar_stem` preactresnet18 begins as resnet18 does, with 7x7, norm, ReLU and max-pool, for ImageNet; with it,
and in the other networks always, with a 3x3 convolution alone.

Sites: the branch ends with a convolution, so `gate` and `pre-norm` are the same place, after it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import make_join

NAMES = (
    "preactresnet18",
    "preactresnet20",
    "preactresnet56",
    "preactresnet110",
    "wide_resnet16_8",
    "wide_resnet28_8",
    "wide_resnet28_10",
)
ALIASES = {
    "wrn-16-8": "wide_resnet16_8",
    "wrn-28-8": "wide_resnet28_8",
    "wrn-28-10": "wide_resnet28_10",
    "wide-resnet": "wide_resnet28_10",
    "preact-resnet": "preactresnet18",
    "resnet-v2": "preactresnet18",
}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes)."""
    if name == "preactresnet18":
        return PreActResNet(64, (64, 128, 256, 512), 2, classes, cifar_stem)
    if name.startswith("wide_resnet"):
        depth, k = map(int, name.removeprefix("wide_resnet").split("_"))
        return PreActResNet(16, (16 * k, 32 * k, 64 * k), (depth - 4) // 6, classes)
    return PreActResNet(16, (16, 32, 64), (int(name.removeprefix("preactresnet")) - 2) // 6, classes)


class PreActResNet(nn.Module):
    """`n` blocks per stage, each stage of its width; (N, 3, H, W) -> (N, classes)."""

    def __init__(self, stem: int, widths: tuple[int, ...], n: int, classes: int, cifar_stem: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        if cifar_stem:
            self.stem.append(nn.Conv2d(3, stem, 3, padding=1, bias=False))
        else:
            self.stem.append(nn.Conv2d(3, stem, 7, 2, 3, bias=False))
            self.stem.extend([nn.BatchNorm2d(stem), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)])
        self.stages = nn.ModuleList()
        for i, (before, width) in enumerate(zip((stem, *widths), widths, strict=False)):
            first = PreActBlock(before, width, stride=1 if i == 0 else 2)
            self.stages.append(nn.Sequential(first, *(PreActBlock(width, width) for _ in range(n - 1))))
        self.bn = nn.BatchNorm2d(widths[-1])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the images."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.pool(F.relu(self.bn(x))).flatten(1))


class PreActBlock(nn.Module):
    """x + conv2(relu(bn2(conv1(relu(bn1(x)))))); (N, C_in, H, W) -> (N, C, H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels
        self.shortcut: nn.Module | None = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def compute_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (branch, shortcut), the terms of the sum."""
        y = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(F.relu(self.bn2(self.conv1(y)))), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        return torch.add(*self.compute_terms(x))


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network of this family."""
    blocks = [
        _describe_preact_block(f"stages.{stage - 1}.{i}", stage, i + 1)
        for stage, blocks in enumerate(net.get_submodule("stages").children(), 1)
        for i, _ in enumerate(blocks.children())
    ]
    return NetworkStructure(tuple(blocks), "stem", "pool", "fc", join)


def _describe_preact_block(path: str, stage: int, index: int) -> BlockPaths:
    first, last = f"{path}.conv1", f"{path}.conv2"
    return BlockPaths(stage, index, path, (first, last), (f"{path}.bn2", None), last, last)


class _JoinedPreActBlock(PreActBlock):
    """A block whose sum is a mechanism: (N, C_in, H, W) -> (N, C, H', W')."""

    attn: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        branch, shortcut = self.compute_terms(x)
        return self.attn(x, branch, shortcut)


join = make_join(_JoinedPreActBlock)
