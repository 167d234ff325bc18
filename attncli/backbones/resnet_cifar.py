"""The CIFAR ResNets of He et al. (2016, Sec. 4.2): three stages of 16, 32 and 64 channels, depth 6n + 2.

Shortcuts that change the width are free of parameters (the paper's option A: every second pixel, zeros for
the new channels), so resnet20 has 269,722 parameters and resnet110 1,727,962.
"""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from attncli.backbones.pad_shortcut import PadShortcut
from attncli.backbones.resnet import find_structure as find_structure

NAMES = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
WIDTHS = (16, 32, 64)


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes). Its stem is the CIFAR stem always."""
    return CifarResNet((int(name.removeprefix("resnet")) - 2) // 6, classes)


class CifarResNet(nn.Module):
    """`n` basic blocks per stage; (N, 3, H, W) -> (N, classes)."""

    def __init__(self, n: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _make_stage(WIDTHS[0], WIDTHS[0], n, stride=1)
        self.layer2 = _make_stage(WIDTHS[0], WIDTHS[1], n, stride=2)
        self.layer3 = _make_stage(WIDTHS[1], WIDTHS[2], n, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the images."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _make_stage(channels_in: int, channels: int, n: int, stride: int) -> nn.Sequential:
    shortcut = None if channels_in == channels else PadShortcut(channels, stride)
    first = BasicBlock(channels_in, channels, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(n - 1)))
