"""torchvision's VGG with batch norm (Simonyan and Zisserman, 2015), with the classifier that suits the image.

Its blocks are single convolutions with norm and ReLU in five stages between the max-pools (224, 112, 56, 28 and 14 px
of 224), which keep VGG's own count. Nothing is added to them and they have no inside: no sites join and mid.

For small images (CIFAR) the three wide linear layers, made for maps of 7x7, give way to pooling and one linear layer,
as usual there: 14.7 M parameters instead of 134 M. The convolutions and their strides are the same.
"""

import torchvision.models
from torch import nn

from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("vgg16_bn",)


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes)."""
    net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if cifar_stem:
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier = nn.Linear(512, classes)
        nn.init.normal_(net.classifier.weight, 0, 0.01)
        nn.init.zeros_(net.classifier.bias)
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks, stage, index = [], 1, 0
    for i, module in enumerate(net.get_submodule("features").children()):
        if isinstance(module, nn.MaxPool2d):
            stage, index = stage + 1, 0
        if isinstance(module, nn.Conv2d):
            index += 1
            blocks.append(_describe_vgg_block(i, stage, index))
    has_wide_classifier = isinstance(net.classifier, nn.Sequential)
    return NetworkStructure(
        tuple(blocks), "features.0", "avgpool", "classifier.6" if has_wide_classifier else "classifier"
    )


def _describe_vgg_block(i: int, stage: int, index: int) -> BlockPaths:
    conv, norm, relu = (f"features.{i + k}" for k in range(3))
    return BlockPaths(stage, index, conv, (conv,), (norm,), conv, norm, widens=False, shortcut=False, exit=relu)
