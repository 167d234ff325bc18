"""torchvision's MobileNetV3 (Howard et al., 2019), with strides that suit the image.

Its blocks are inverted residuals: widen by 1x1, depthwise 3x3 or 5x5, in some blocks squeeze-and-excitation, project
by 1x1. A stage holds the blocks whose maps have the size of a ResNet's stage (56, 28, 14 and 7 px of 224; the first
block of the large network has 112). For small images (CIFAR) the stem and the first strided block have stride 1, so
that 32 px reach the four stages as 32, 16, 8 and 4 px; no parameter depends on it.

Sites: `gate` is after the norm of the projection, `mid` before the projection (after the built-in squeeze-and-
excitation, if there is one), `pre-norm` after the depthwise convolution, `conv` in place of one of 3x3.
"""

import torchvision.models
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual

from attncli.backbones.inverted_residual import describe_inverted_residual
from attncli.backbones.structure import NetworkStructure
from attncli.backbones.surgery import make_join, remove_strides

NAMES = ("mobilenet_v3_small", "mobilenet_v3_large")
STAGES = {  # first and last position of each stage's blocks in `features`
    "mobilenet_v3_small": ((1, 1), (2, 3), (4, 8), (9, 11)),
    "mobilenet_v3_large": ((1, 3), (4, 6), (7, 12), (13, 15)),
}
STRIDED = {  # the stem's convolution and that of the first strided block
    "mobilenet_v3_small": ("features.0.0", "features.1.block.0.0"),
    "mobilenet_v3_large": ("features.0.0", "features.2.block.1.0"),
}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes)."""
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if cifar_stem:
        remove_strides(net, STRIDED[name])
    return net


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network of this family."""
    last = len(list(net.get_submodule("features").children())) - 2  # between stem and last convolution
    stages = next(stages for stages in STAGES.values() if stages[-1][-1] == last)
    blocks = [
        describe_inverted_residual(net, f"features.{i}", stage, i - first + 1)
        for stage, (first, end) in enumerate(stages, 1)
        for i in range(first, end + 1)
    ]
    return NetworkStructure(tuple(blocks), "features.0", "avgpool", "classifier", join)


class _JoinedMobileNetV3Block(InvertedResidual):
    """An inverted residual whose sum is a mechanism: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, self.block(x), x)


join = make_join(_JoinedMobileNetV3Block)
