"""torchvision's MNASNet (Tan et al., 2019, the variant B1 without excitation), with strides that suit the image.

Its blocks are inverted residuals of depthwise 3x3 or 5x5; the separable convolution that comes before them, which
neither widens nor sums, is no block. Its six groups count as four stages by the size of their maps, as in a ResNet:
group 1, group 2, groups 3 and 4, groups 5 and 6 (56, 28, 14 and 7 px of 224). For small images (CIFAR) the stem and
the first strided group have stride 1; no parameter depends on it.
"""

import torchvision.models
from torch import Tensor, nn
from torchvision.models.mnasnet import _InvertedResidual

from attncli.backbones.stem import remove_strides
from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("mnasnet1_0",)
STAGES = ((8,), (9,), (10, 11), (12, 13))  # positions of each stage's groups in `layers`


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes).

    The mean over the map that torchvision takes as a function is made a module, for the site head.
    """
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    layers = net.get_submodule("layers")
    assert isinstance(layers, nn.Sequential)
    layers.append(nn.AdaptiveAvgPool2d(1))
    if cifar_stem:
        remove_strides(net, ("layers.0", "layers.8.0.layers.3"))
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = []
    for stage, groups in enumerate(STAGES, 1):
        paths = [f"layers.{g}.{i}" for g in groups for i, _ in enumerate(net.get_submodule(f"layers.{g}").children())]
        blocks += [_describe_mnasnet_block(net, path, stage, index) for index, path in enumerate(paths, 1)]
    return NetworkStructure(tuple(blocks), "layers.0", "layers.17", "classifier", join)


def _describe_mnasnet_block(net: nn.Module, path: str, stage: int, index: int) -> BlockPaths:
    return BlockPaths(
        stage,
        index,
        path,
        (f"{path}.layers.3",),
        (f"{path}.layers.4",),
        f"{path}.layers.6",
        f"{path}.layers.7",
        shortcut=bool(net.get_submodule(path).apply_residual),
    )


def join(block: nn.Module, attn: nn.Module) -> None:
    """Let `attn(x, branch, x)` stand for the sum of a block that has a shortcut."""
    block.attn = attn
    block.__class__ = _JoinedMnasNetBlock


class _JoinedMnasNetBlock(_InvertedResidual):
    """An inverted residual whose sum is a mechanism: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, self.layers(x), x)
