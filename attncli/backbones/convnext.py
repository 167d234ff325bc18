"""torchvision's ConvNeXt (Liu et al., 2022), with the stem that suits the image.

Its blocks are a depthwise 7x7 convolution, a layer norm and two linear layers over the channels, in four stages (56,
28, 14 and 7 px of 224). For small images (CIFAR) the stem's 4x4 convolution with stride 4 is one of 3x3 with stride
1, so that 32 px reach the stages as 32, 16, 8 and 4 px.

Sites: `gate` is after the linear layers, before the layer scale and the sum; `pre-norm` after the 7x7 convolution.
No convolution ends the branch and none is 3x3: there are no sites mid and conv. Norms are over the channels of each
pixel, so nothing here uses statistics of the batch.
"""

import torchvision.models
from torch import Tensor, nn
from torchvision.models.convnext import CNBlock

from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("convnext_tiny",)
STAGES = (1, 3, 5, 7)  # positions of the stages in `features`


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes)."""
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if cifar_stem:
        conv = nn.Conv2d(3, 96, 3, padding=1)
        nn.init.trunc_normal_(conv.weight, std=0.02)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
        net.set_submodule("features.0.0", conv)
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = [
        _describe_convnext_block(f"features.{position}.{i}", stage, i + 1)
        for stage, position in enumerate(STAGES, 1)
        for i, _ in enumerate(net.get_submodule(f"features.{position}").children())
    ]
    return NetworkStructure(tuple(blocks), "features.0", "avgpool", "classifier.2", join)


def _describe_convnext_block(path: str, stage: int, index: int) -> BlockPaths:
    return BlockPaths(stage, index, path, (f"{path}.block.0",), (None,), None, f"{path}.block.6")


def join(block: nn.Module, attn: nn.Module) -> None:
    """Let `attn(x, branch, x)` stand for the sum of a block."""
    block.attn = attn
    block.__class__ = _JoinedConvNeXtBlock


class _JoinedConvNeXtBlock(CNBlock):
    """A block whose sum is a mechanism: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, self.stochastic_depth(self.layer_scale * self.block(x)), x)
