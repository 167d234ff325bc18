"""What MobileNetV3 and EfficientNet share: torchvision's inverted residuals with built-in squeeze-and-excitation."""

from torch import nn
from torchvision.ops.misc import SqueezeExcitation

from attncli.backbones.structure import BlockPaths


def describe_inverted_residual(net: nn.Module, path: str, stage: int, index: int) -> BlockPaths:
    """Return the parts of the block at `path`: a Sequential of widening, depthwise, excitation and projection."""
    parts = list(net.get_submodule(f"{path}.block").children())
    excitation = next((i for i, m in enumerate(parts) if isinstance(m, SqueezeExcitation)), None)
    last = len(parts) - 1
    depthwise = last - (1 if excitation is None else 2)
    return BlockPaths(
        stage,
        index,
        path,
        (f"{path}.block.{depthwise}.0",),
        (f"{path}.block.{depthwise}.1",),
        f"{path}.block.{last}.0",
        f"{path}.block.{last}.1",
        widens=depthwise > 0,
        shortcut=bool(net.get_submodule(path).use_res_connect),
        se=None if excitation is None else f"{path}.block.{excitation}",
    )
