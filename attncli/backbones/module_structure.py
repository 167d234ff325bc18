"""Find the parts of a network from its modules, in a pass without data.

A block is a module that returns a map and holds a spatial convolution (kernel above 1x1) and at least one more
convolution or linear layer; of such modules in each other the outermost that is no stage, that is, no list of them. The
pass finds its parts, in the order in which they are called:

- its spatial convolutions, and the norm that follows each before the next convolution;
- its last convolution, and the end of the branch: the norm after it, or the convolution itself if none follows. If a
  linear layer comes after it (ConvNeXt), the branch ends with `drop_path`, if the block has that;
- its squeeze-and-excitation, by the class.

Parallel branches of a block (Inception) count as one, in the order of their calls. How a block sums is not visible from
outside: there is no site join.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from attncli.backbones.structure import BlockPaths

SHORTCUTS = {"downsample", "shortcut", "skip", "conv_skip", "drop_path"}
NORMS = nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm
EXCITATIONS = {"SEModule", "SqueezeExcite", "SqueezeExcitation", "EffectiveSEModule", "SqueezeExciteCl"}


@dataclass(frozen=True)
class ModuleCall:
    """The first call of a submodule: shapes of its input, () if that is no tensor, and output; both, without data."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    input: Tensor | None = None
    output: Tensor | None = None
    is_repeated: bool = False  # the network calls the submodule more than once


def trace_calls(
    net: nn.Module, size: tuple[int, int], observer: AbstractContextManager[object] | None = None
) -> dict[str, ModuleCall]:
    """Return the submodules that return one tensor for an image of `size`, in the order in which they are called first.

    `net` does not change. The pass runs in the context of `observer`.
    """
    meta_copy = copy.deepcopy(net).to("meta").eval()
    started: dict[str, int] = {}
    calls: dict[str, ModuleCall] = {}

    def register_hooks(path: str, module: nn.Module) -> None:
        def record_start(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            started[path] = started.get(path, 0) + 1

        def record_call(_: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
                input_shape = () if first is None else tuple(first.shape)
                calls.setdefault(path, ModuleCall(input_shape, tuple(out.shape), first, out))

        module.register_forward_pre_hook(record_start)
        module.register_forward_hook(record_call)

    for path, module in meta_copy.named_modules():
        if path:
            register_hooks(path, module)
    with torch.no_grad(), observer or nullcontext():
        meta_copy(torch.zeros(1, 3, *size, device="meta"))
    return {path: replace(calls[path], is_repeated=count > 1) for path, count in started.items() if path in calls}


def is_spatial_conv(module: nn.Module) -> bool:
    """Return whether a module is a convolution with a kernel above 1x1."""
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


def collect_layers(module: nn.Module) -> list[nn.Module]:
    """Return convolutions and linear layers of a module, without those of built-in excitations."""
    if type(module).__name__ in EXCITATIONS:
        return []
    if isinstance(module, nn.Conv2d | nn.Linear):
        return [module]
    return [layer for child in module.children() for layer in collect_layers(child)]


def find_block_paths(
    net: nn.Module, calls: Mapping[str, ModuleCall], can_be_block: Callable[[nn.Module], bool]
) -> list[str]:
    """Return the blocks in the order in which they are called, of the modules that `can_be_block` allows."""
    layer_counts = {
        path: len(layers)
        for path, call in calls.items()
        if can_be_block(net.get_submodule(path))
        and len(call.output_shape) == 4
        and call.output_shape[-1] > 1
        and len(layers := collect_layers(net.get_submodule(path))) > 1
        and any(map(is_spatial_conv, layers))
    }
    blocks = [path for path in layer_counts if not _is_stage(net, path, layer_counts)]
    return [path for path in blocks if not any(path.startswith(f"{other}.") for other in blocks)]


def _is_stage(net: nn.Module, path: str, layer_counts: Mapping[str, int]) -> bool:
    """Return whether a module is, or has, a list of others in `layer_counts` (path -> layers), or only holds them."""
    inside = [other for other in layer_counts if other.startswith(f"{path}.")]
    if any(_has_list_between(net, path, other) for other in inside):
        return True
    direct = [other for other in inside if not any(other.startswith(f"{o}.") for o in inside)]
    return bool(direct) and sum(layer_counts[other] for other in direct) == layer_counts[path]


def _has_list_between(net: nn.Module, path: str, inside: str) -> bool:
    """Return whether a list of modules lies on the way from `path` to a module in it."""
    parts = inside.split(".")[:-1]
    prefixes = (".".join(parts[:n]) for n in range(path.count(".") + 1, len(parts) + 1))
    return any(isinstance(net.get_submodule(p), nn.Sequential | nn.ModuleList | nn.ModuleDict) for p in prefixes)


def describe_block(
    net: nn.Module, path: str, stage: int, index: int, calls: Mapping[str, ModuleCall], excluded: Sequence[str] = ()
) -> BlockPaths | None:
    """Return the parts of the block at `path`, or None if it has no spatial convolution outside of its shortcut.

    Args:
        net: The network.
        path: The block.
        stage: Its stage, from 1.
        index: Its number in the stage, from 1.
        calls: The submodules in the order of their calls.
        excluded: Modules in it that do not belong to its branch.
    """
    inside = [other for other in calls if other.startswith(f"{path}.")]
    excitation = next((p for p in inside if type(net.get_submodule(p)).__name__ in EXCITATIONS), None)
    shortcut_paths = (f"{path}.{name}" for name in SHORTCUTS)
    excluded_prefixes = tuple(f"{p}." for p in (*shortcut_paths, *excluded, *([excitation] if excitation else [])))
    branch = [p for p in inside if not f"{p}.".startswith(excluded_prefixes)]
    layers = [p for p in branch if isinstance(net.get_submodule(p), nn.Conv2d | nn.Linear)]
    convs = tuple(p for p in layers if is_spatial_conv(net.get_submodule(p)))
    if not convs:
        return None
    norms = {layer: _find_norm_after(net, branch, layer) for layer in layers}
    last: str | None = layers[-1]
    if last is not None and isinstance(net.get_submodule(last), nn.Linear):
        last, end = None, f"{path}.drop_path" if f"{path}.drop_path" in calls else None
    else:
        end = norms[layers[-1]] or last
    return BlockPaths(
        stage,
        index,
        path,
        convs,
        tuple(norms[c] for c in convs),
        last,
        end,
        widens=len(layers) > 2 or len(convs) > 1,
        shortcut=False,
        entry="" if calls[path].input_shape else None,
        exit="" if calls[path].input_shape else None,
        se=excitation,
    )


def _find_norm_after(net: nn.Module, branch: list[str], layer: str) -> str | None:
    """Return the norm that is called after a layer and before the next."""
    for path in branch[branch.index(layer) + 1 :]:
        module = net.get_submodule(path)
        if isinstance(module, nn.Conv2d | nn.Linear):
            return None
        if isinstance(module, NORMS):
            return path
    return None
