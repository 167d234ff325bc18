"""torchvision's EfficientNets B0 and B1 (Tan and Le, 2019), with strides that suit the image.

Its blocks are inverted residuals with squeeze-and-excitation in every one. Its seven groups count as four stages by
the size of their maps, as in a ResNet: groups 1 and 2, group 3, groups 4 and 5, groups 6 and 7 (56, 28, 14 and 7 px
of 224; group 1 has 112). For small images (CIFAR) the stem and the first strided block have stride 1, so that 32 px
reach the four stages as 32, 16, 8 and 4 px; no parameter depends on it.

Sites: as in MobileNetV3. The branch's random drop in training (stochastic depth) comes after the site `gate`.
"""

import torchvision.models
from torch import Tensor, nn
from torchvision.models.efficientnet import MBConv

from attncli.backbones.inverted_residual import describe_inverted_residual
from attncli.backbones.stem import remove_strides
from attncli.backbones.structure import NetworkStructure

NAMES = ("efficientnet_b0", "efficientnet_b1")
STAGES = ((1, 2), (3,), (4, 5), (6, 7))  # positions of each stage's groups in `features`


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes)."""
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if cifar_stem:
        remove_strides(net, ("features.0.0", "features.2.0.block.1.0"))
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = []
    for stage, groups in enumerate(STAGES, 1):
        paths = [
            f"features.{g}.{i}" for g in groups for i, _ in enumerate(net.get_submodule(f"features.{g}").children())
        ]
        blocks += [describe_inverted_residual(net, path, stage, index) for index, path in enumerate(paths, 1)]
    return NetworkStructure(tuple(blocks), "features.0", "avgpool", "classifier", join)


def join(block: nn.Module, attn: nn.Module) -> None:
    """Let `attn(x, branch, x)` stand for the sum of a block that has a shortcut."""
    block.attn = attn
    block.__class__ = _JoinedMBConv


class _JoinedMBConv(MBConv):
    """An inverted residual whose sum is a mechanism: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, self.stochastic_depth(self.block(x)), x)
