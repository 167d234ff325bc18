"""torchvision's MobileNetV2 (Sandler et al., 2018), with strides that suit the image.

Its blocks are inverted residuals: widen by 1x1, depthwise 3x3, project by 1x1, a norm after each. The first block
does not widen; the ten blocks that keep width and size have a shortcut, and no activation follows the sum.

Its seven groups count as four stages by the size of their maps, as in a ResNet, so that a stage means the same
in both: groups 1 and 2, group 3, groups 4 and 5, groups 6 and 7 (56, 28, 14 and 7 px of 224; group 1 has 112).

For small images (CIFAR) the stem and the first strided group have stride 1, as is usual: 32 px reach the four
stages as 32, 16, 8 and 4 px. No parameter depends on it.

Sites: `gate` is after the norm of the projection, in every block; `mid` between the depthwise part with its
activation and the projection, in the blocks that widen; `pre-norm` between the depthwise convolution and its norm;
`conv` in place of the depthwise convolution; `join` in the blocks that have a shortcut.
"""

import torchvision.models
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual

from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import make_join, remove_strides

NAMES = ("mobilenet_v2",)
STAGES = ((1, 3), (4, 6), (7, 13), (14, 17))  # first and last position of each stage's blocks in `features`


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes).

    The pooling that torchvision calls as a function is made a module, for the site head: nothing else changes.
    """
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    features = net.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    features.append(nn.AdaptiveAvgPool2d(1))
    if cifar_stem:
        remove_strides(net, ("features.0.0", "features.2.conv.1.0"))
    return net


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network of this family."""
    blocks = [
        _describe_mobilenet_block(stage, i - first + 1, f"features.{i}", net.get_submodule(f"features.{i}"))
        for stage, (first, last) in enumerate(STAGES, 1)
        for i in range(first, last + 1)
    ]
    return NetworkStructure(tuple(blocks), "features.0", "features.19", "classifier", join)


def _describe_mobilenet_block(stage: int, index: int, path: str, block: nn.Module) -> BlockPaths:
    parts = len(list(block.get_submodule("conv").children()))  # 4, or 3 if nothing widens
    return BlockPaths(
        stage,
        index,
        path,
        (f"{path}.conv.{parts - 3}.0",),
        (f"{path}.conv.{parts - 3}.1",),
        f"{path}.conv.{parts - 2}",
        f"{path}.conv.{parts - 1}",
        widens=parts == 4,
        shortcut=bool(block.use_res_connect),
    )


class _JoinedMobileNetV2Block(InvertedResidual):
    """An inverted residual whose sum is a mechanism: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, self.conv(x), x)


join = make_join(_JoinedMobileNetV2Block)
