"""torchvision's RegNetY (Radosavovic et al., 2020), with strides that suit the image.

Its blocks are bottlenecks with grouped 3x3 convolutions and squeeze-and-excitation after them, in four stages (56,
28, 14 and 7 px of 224). For small images (CIFAR) the stem and the first block have stride 1, so that 32 px reach the
stages as 32, 16, 8 and 4 px; no parameter depends on it.

Sites: `mid` is after the built-in squeeze-and-excitation, before the last 1x1.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.regnet import BlockParams, RegNet, ResBottleneckBlock

from attncli.backbones.stem import remove_strides
from attncli.backbones.structure import BlockPaths, NetworkStructure

NAMES = ("regnet_y_400mf",)
DESIGNS = {  # depth, first width, slope and ratio of the widths: the paper's, as torchvision has them
    "regnet_y_400mf": {"depth": 16, "w_0": 48, "w_a": 27.89, "w_m": 2.09, "group_width": 8, "se_ratio": 0.25},
}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes)."""
    with torch.device("cpu"):  # torchvision computes the widths with tensors, which on the meta device have no values
        widths = BlockParams.from_init_params(**DESIGNS[name])
    net: nn.Module = RegNet(widths, num_classes=classes)
    if cifar_stem:
        first = "trunk_output.block1.block1-0"
        remove_strides(net, ("stem.0", f"{first}.proj.0", f"{first}.f.b.0"))
    return net


def anatomy(net: nn.Module) -> NetworkStructure:
    """The parts of a network of this family."""
    blocks = [
        _describe_regnet_block(f"trunk_output.block{stage}.{name}", stage, index)
        for stage in (1, 2, 3, 4)
        for index, (name, _) in enumerate(net.get_submodule(f"trunk_output.block{stage}").named_children(), 1)
    ]
    return NetworkStructure(tuple(blocks), "stem", "avgpool", "fc", join)


def _describe_regnet_block(path: str, stage: int, index: int) -> BlockPaths:
    branch = f"{path}.f"
    parts = (f"{branch}.b.0",), (f"{branch}.b.1",), f"{branch}.c.0", f"{branch}.c.1"
    return BlockPaths(stage, index, path, *parts, se=f"{branch}.se")


def join(block: nn.Module, attn: nn.Module) -> None:
    """Let `attn(x, branch, shortcut)` stand for the sum of a block, before its last ReLU."""
    block.attn = attn
    block.__class__ = _JoinedRegNetBlock


class _JoinedRegNetBlock(ResBottleneckBlock):
    """A bottleneck whose sum is a mechanism: (N, C_in, H, W) -> (N, C, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Any = x if self.proj is None else self.proj(x)
        return self.activation(self.attn(x, self.f(x), shortcut))
