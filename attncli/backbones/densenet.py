"""torchvision's DenseNet (Huang et al., 2017), with the stem that suits the image.

Its blocks are the dense layers: norm, ReLU, 1x1, norm, ReLU, 3x3, whose 32 new channels are joined to all that came
before in their dense block. The four dense blocks are the stages (56, 28, 14 and 7 px of 224). For small images
(CIFAR) the stem is a 3x3 convolution with stride 1 and no pool, as in a ResNet.

Sites: `gate` is after a layer's last convolution, on the new channels; `block-input` before its first norm, on all
channels so far; `mid` before the 3x3 convolution; `stage` after the last layer of a dense block, on all its channels,
and nowhere else, for between two layers there are many maps. Nothing is added: there is no site join.
"""

import torchvision.models
from torch import nn

from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("densenet121",)
LAYERS = (6, 12, 24, 16)


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes).

    The last ReLU and the pooling that torchvision calls as functions are made modules, for the site head.
    """
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    features = net.get_submodule("features")
    features.add_module("relu5", nn.ReLU())
    features.add_module("pool5", nn.AdaptiveAvgPool2d(1))
    if cifar_stem:
        features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(features.conv0.weight)
        features.pool0 = nn.Identity()
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = [
        _describe_dense_layer(stage, i, is_last=i == n) for stage, n in enumerate(LAYERS, 1) for i in range(1, n + 1)
    ]
    return NetworkStructure(tuple(blocks), "features.conv0", "features.pool5", "classifier")


def _describe_dense_layer(stage: int, index: int, is_last: bool) -> BlockPaths:
    dense_block = f"features.denseblock{stage}"
    path = f"{dense_block}.denselayer{index}"
    conv = f"{path}.conv2"
    entry_path, exit_path = f"{path}.norm1", dense_block if is_last else None
    return BlockPaths(
        stage, index, path, (conv,), (None,), conv, conv, shortcut=False, entry=entry_path, exit=exit_path
    )
