"""torchvision's ResNets (He et al., 2016), with the stem that suits the image.

For ImageNet the stem is a 7x7 convolution with stride 2 and a max-pool; for small images (CIFAR) it is a 3x3
convolution with stride 1 and no pool, as usual since the 2016 CIFAR experiments.
"""

from typing import Any

import torchvision.models
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import make_join

NAMES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
)
ALIASES = {"wrn-50-2": "wide_resnet50_2", "resnext": "resnext50_32x4d"}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes)."""
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if cifar_stem:
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    return net


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network of this family, or of any that is made of torchvision's residual blocks."""
    stages = [name for name, _ in net.named_children() if name.startswith("layer")]
    blocks = [
        _describe_resnet_block(stage, index, f"{name}.{index - 1}", block)
        for stage, name in enumerate(stages, 1)
        for index, block in enumerate(net.get_submodule(name).children(), 1)
    ]
    return NetworkStructure(tuple(blocks), "conv1", "avgpool", "fc", join)


def _describe_resnet_block(stage: int, index: int, path: str, block: nn.Module) -> BlockPaths:
    spatial, last = ("2", "3") if isinstance(block, Bottleneck) else ("12", "2")  # numbers of the convolutions
    return BlockPaths(
        stage,
        index,
        path,
        tuple(f"{path}.conv{i}" for i in spatial),
        tuple(f"{path}.bn{i}" for i in spatial),
        f"{path}.conv{last}",
        f"{path}.bn{last}",
    )


class _JoinedBasicBlock(BasicBlock):
    """A basic block whose sum is a mechanism: (N, C_in, H, W) -> (N, C, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        out: Any = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.attn(x, out, shortcut))


class _JoinedBottleneck(Bottleneck):
    """A bottleneck whose sum is a mechanism: (N, C_in, H, W) -> (N, C, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        out: Any = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.attn(x, out, shortcut))


join = make_join(_JoinedBasicBlock, _JoinedBottleneck)
