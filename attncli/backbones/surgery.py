"""Trace the shapes in a finished network and change its submodules.

The network's own tensors keep their values and their names, except for a `.host` in the name of a wrapped submodule.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from attncli.backbones.pad_shortcut import PadShortcut
from attncli.backbones.structure import NetworkStructure

TensorShape = tuple[int, ...]
ModuleShapes = dict[str, tuple[TensorShape, TensorShape]]  # path -> shape of the input and of the output
Insertion = Callable[[nn.Module, nn.Module], None]  # (network, mechanism)
BranchNorm = nn.modules.batchnorm._BatchNorm | nn.GroupNorm
_REFERENCE = "attncli_reference"  # attribute of a mechanism's module: what a recipe calls it


class WrappedSubmodule(nn.Sequential):
    """A submodule of the network (`host`) and the mechanism (`attn`) before, after or in place of it."""


class FrameAveragingHead(nn.Module):
    """Mean over the T frames of a clip, then the classifier: (N*T, C) -> (N, classes)."""

    def __init__(self, classifier: nn.Module, frames: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the clips."""
        return self.classifier(x.unflatten(0, (-1, self.frames)).mean(1))


def mark_mechanism(module: nn.Module, reference: str) -> None:
    """Note in a module that it is the mechanism `reference` of a recipe: other modules may be called `attn` too."""
    setattr(module, _REFERENCE, reference)


def read_reference(mechanism: nn.Module) -> str:
    """Return what a recipe calls a mechanism of `find_mechanisms`."""
    reference: str = vars(mechanism)[_REFERENCE]
    return reference


def find_mechanisms(net: nn.Module) -> dict[str, nn.Module]:
    """Return the mechanisms in a network by path; a mechanism that is the whole network has the path ""."""
    return {path: module for path, module in net.named_modules() if _REFERENCE in vars(module)}


def copy_outputs(net: nn.Module) -> None:
    """Copy the map that each mechanism of a network returns, so that the network may write into it."""
    for mechanism in find_mechanisms(net).values():
        mechanism.register_forward_hook(_copy_output)


def _copy_output(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.clone()


def trace_shapes(net: nn.Module, size: tuple[int, int], images: int = 1) -> ModuleShapes:
    """Return the shapes of the input and output of every submodule for (images, 3, H, W), without computing anything.

    They are in the order in which the submodules end. Those that take or return anything but a tensor are left out.
    """
    meta_copy = copy.deepcopy(net).to("meta").eval()
    module_shapes: ModuleShapes = {}

    def make_hook(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def record_shapes(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                module_shapes[path] = (tuple(inputs[0].shape), tuple(output.shape))

        return record_shapes

    for path, module in meta_copy.named_modules():
        module.register_forward_hook(make_hook(path))
    with torch.no_grad():
        meta_copy(torch.zeros(images, 3, *size, device="meta"))
    return module_shapes


def list_branch_norms(net: nn.Module, structure: NetworkStructure) -> list[BranchNorm]:
    """Return the norm that ends each residual branch; none of blocks without a shortcut, or that end otherwise."""
    ends = [net.get_submodule(b.branch_end) for b in structure.blocks if b.shortcut and b.branch_end]
    return [end for end in ends if isinstance(end, BranchNorm) and end.affine]


def zero_branch_norms(net: nn.Module, structure: NetworkStructure) -> int:
    """Set to 0 the weight of the norm that ends each residual branch (Goyal et al., 2017, Sec. 5.1); return how many.

    The block then starts as its shortcut. Blocks without a shortcut, and branches that end otherwise, keep theirs.
    """
    norms = list_branch_norms(net, structure)
    for norm in norms:
        nn.init.zeros_(norm.weight)
    return len(norms)


def insert_before(path: str) -> Insertion:
    """Return the insertion of a mechanism before the submodule at `path`."""
    return lambda net, attn: _wrap_submodule(net, path, attn, first=True)


def insert_after(path: str) -> Insertion:
    """Return the insertion of a mechanism after the submodule at `path`."""
    return lambda net, attn: _wrap_submodule(net, path, attn, first=False)


def _wrap_submodule(net: nn.Module, path: str, attn: nn.Module, first: bool) -> None:
    wrapped, host = WrappedSubmodule(), net.get_submodule(path)
    for name, module in (("attn", attn), ("host", host)) if first else (("host", host), ("attn", attn)):
        wrapped.add_module(name, module)
    net.set_submodule(path, wrapped)


def insert_instead(path: str, norm: str | None = None) -> Insertion:
    """Return the insertion of a mechanism in place of the submodule at `path`; the one at `norm` is removed."""

    def replace_submodule(net: nn.Module, attn: nn.Module) -> None:
        wrapped = WrappedSubmodule()
        wrapped.add_module("attn", attn)
        net.set_submodule(path, wrapped)
        if norm:
            net.set_submodule(norm, nn.Identity())

    return replace_submodule


def copy_host_kernel(net: nn.Module, path: str, attn: nn.Module, parameter: str) -> bool:
    """Give a parameter of a mechanism the kernel of the convolution at `path`, whose place it will take.

    Returns False, and copies nothing, if there is no convolution or its kernel has another shape.
    """
    host, kernel = net.get_submodule(path), attn.get_parameter(parameter)
    if not isinstance(host, nn.Conv2d) or host.weight.shape != kernel.shape:
        return False
    with torch.no_grad():
        kernel.copy_(host.weight)
    return True


def remove_strides(net: nn.Module, paths: Iterable[str]) -> None:
    """Give the convolutions at `paths` stride 1: a stem made for 224 px halves small images too often."""
    for path in paths:
        conv = net.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)


def remove_last_strides(net: nn.Module, structure: NetworkStructure) -> int:
    """Let the last stage keep the size of its map, as networks with dense maps do; return how many strides it had.

    Only convolutions and shortcuts without parameters are changed: a network that pools there does not run afterwards,
    or pools as before. `keeps_size` tells.
    """
    last_blocks = [net.get_submodule(block.path) for block in structure.blocks if block.stage == structure.stage_count]
    modules = {id(module): module for block in last_blocks for module in block.modules()}
    convs = [m for m in modules.values() if isinstance(m, nn.Conv2d) and max(m.stride) > 1]
    shortcuts = [m for m in modules.values() if isinstance(m, PadShortcut) and m.stride > 1]
    for conv in convs:
        conv.stride = (1, 1)
    for shortcut in shortcuts:
        shortcut.stride = 1
    return len(convs) + len(shortcuts)


def keeps_size(net: nn.Module, structure: NetworkStructure, size: tuple[int, int]) -> bool:
    """Return whether the network takes images of `size` (H, W) and no block of its last stage makes its map smaller."""
    try:
        module_shapes = trace_shapes(net, size)
    except (RuntimeError, ValueError, AssertionError):  # a sum of maps of different sizes
        return False
    last_paths = [block.path for block in structure.blocks if block.stage == structure.stage_count]
    shapes = [module_shapes[path] for path in last_paths if path in module_shapes]
    return all(output_shape[-2:] == input_shape[-2:] for input_shape, output_shape in shapes)


def make_join(*joined_classes: type[nn.Module]) -> Callable[[nn.Module, nn.Module], None]:
    """Return the `join` of a family: it lets `attn(x, branch, shortcut)` replace the sum of a block.

    Each joined class is derived from a class of blocks and takes its place; it finds the mechanism in `self.attn`.
    """
    joined_by_class = {joined.__bases__[0]: joined for joined in joined_classes}

    def join(block: nn.Module, attn: nn.Module) -> None:
        joined_class = joined_by_class[type(block)]
        block.attn = attn
        block.__class__ = joined_class

    return join
