"""torchvision's ShuffleNetV2 (Ma et al., 2018), with strides that suit the image.

A block sends half of the channels through 1x1, depthwise 3x3 and 1x1, and shuffles both halves: nothing is added, so
there is no site join. Its stages are those that the paper calls 2 to 4 (28, 14 and 7 px of 224), here as there and
as in a ResNet; a stage 1 with blocks it has not. For small images (CIFAR) the stem has stride 1 and no max-pool
follows, so that 32 px reach the stages as 16, 8 and 4 px; no parameter depends on it.

Sites: `gate` is after the last norm of the branch, before its ReLU; `mid` before the branch's last 1x1.
"""

import torchvision.models
from torch import nn

from attncli.backbones.stem import remove_strides
from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("shufflenet_v2_x1_0",)


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes).

    The mean over the map that torchvision takes as a function is made a module, for the site head.
    """
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    last = net.get_submodule("conv5")
    assert isinstance(last, nn.Sequential)
    last.append(nn.AdaptiveAvgPool2d(1))
    if cifar_stem:
        remove_strides(net, ("conv1.0",))
        net.maxpool = nn.Identity()
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = [
        _describe_shufflenet_block(f"stage{stage}.{i}", stage, i + 1)
        for stage in (2, 3, 4)
        for i, _ in enumerate(net.get_submodule(f"stage{stage}").children())
    ]
    return NetworkStructure(tuple(blocks), "conv1", "conv5.3", "fc")


def _describe_shufflenet_block(path: str, stage: int, index: int) -> BlockPaths:
    branch = f"{path}.branch2"
    parts = (f"{branch}.3",), (f"{branch}.4",), f"{branch}.5", f"{branch}.6"
    return BlockPaths(stage, index, path, *parts, shortcut=False)
