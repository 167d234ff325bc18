"""Find the blocks of a network whose blocks are no classes of their own, but `nn.Sequential` or single convolutions.

Only convolutions whose windows overlap count (3x3, not the patches of a transformer). The first rule that finds
something decides:

1. a module whose output is added to its input, or to what a shortcut makes of it: a residual branch;
2. each Sequential that holds such convolutions, if one of them holds more than one layer. A Sequential of several
   modules that hold convolutions, or in which the map gets smaller between two of them, is a list and no block. Neither
   is the first one if it alone has a single layer: that is the stem;
3. each convolution, with the norm and the activation that follow it, as in `attncli.backbones.vgg`.

Rule 2 needs two Sequentials or more, which hold at least half of the convolutions. Else it is unclear what a block is,
and `model.block_paths` must say so. A stage begins where the map is at most two thirds as wide as in the block before.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from attncli.backbones.module_structure import NORMS, ModuleCall, collect_layers, is_spatial_conv
from attncli.backbones.structure import BlockPaths
from attncli.errors import UserError

KEY = "model.block_paths"
ACTIVATIONS = "torch.nn.modules.activation"


class UnclearBlocksError(UserError):
    """The modules of a network do not tell which of them are its blocks."""


class SumRecorder(TorchDispatchMode):
    """Records the pairs of tensors that a network adds."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; note what it adds."""
        if func.overloadpacket.__name__ in ("add", "add_") and all(isinstance(a, Tensor) for a in args[:2]):
            self.sums.append((args[0], args[1]))
        return func(*args, **(kwargs or {}))


def find_plain_blocks(
    net: nn.Module, calls: Mapping[str, ModuleCall], sums: Sequence[tuple[Tensor, Tensor]]
) -> list[str]:
    """Return the paths of the blocks in the order of their calls.

    Raises UnclearBlocksError if the rules do not decide.
    """
    convs = _list_convs(net, calls)
    branches = [path for path in calls if _holds_conv(net, path, calls) and _is_added_to_input(path, calls, sums)]
    if branches:
        return _keep_outermost(branches)
    sequentials = _keep_outermost([path for path in calls if _is_block_sequential(net, path, calls)])
    layer_counts = [len(collect_layers(net.get_submodule(path))) for path in sequentials]
    if all(count == 1 for count in layer_counts):
        return convs
    inside = [conv for conv in convs if conv.startswith(tuple(f"{path}." for path in sequentials))]
    if len(sequentials) < 2 or 2 * len(inside) < len(convs):
        raise UnclearBlocksError(
            f"its blocks are unclear: {', '.join(sequentials)}, or each of {len(convs)} convolutions?",
            f"--set '{KEY}=[{', '.join(sequentials)}]' or --set '{KEY}=[{', '.join(_shorten_paths(convs))}]'",
        )
    has_stem = layer_counts[0] == 1 and min(layer_counts[1:]) > 1
    return sequentials[1:] if has_stem else sequentials


def holds_whole_network(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> bool:
    """Return whether a module has all convolutions of a network but a stem, and the map gets smaller between them.

    Such a module is the network without its classifier (`features`, `encoder`), and no block.
    """
    convs = _list_convs(net, calls)
    inside = [conv for conv in convs if conv.startswith(f"{path}.")]
    if len(inside) < 2 or convs[-len(inside) :] != inside or len(convs) > len(inside) + 1:
        return False
    return number_stages([calls[conv].output_shape[-1] for conv in inside])[-1][0] > 1


def match_block_paths(net: nn.Module, calls: Mapping[str, ModuleCall], patterns: Sequence[str]) -> list[str]:
    """Return the modules with convolutions that patterns of paths name, in the order of their calls.

    `*` stands for one part of a path, or for a piece of it. Raises UserError for a pattern without such a module.
    """
    candidates = [path for path in calls if is_spatial_conv(net.get_submodule(path)) or _holds_conv(net, path, calls)]
    matches: dict[str, list[str]] = {p: [path for path in candidates if _matches(path, p)] for p in patterns}
    for pattern, paths in matches.items():
        if not paths:
            examples = ", ".join(_shorten_paths(candidates)[:6])
            raise UserError(
                f"{KEY}: {pattern}: no module with a convolution above 1x1 that returns a map has this path",
                f"for example {examples}" if examples else "the network has no such convolution",
            )
    named = {path for paths in matches.values() for path in paths}
    return _keep_outermost([path for path in candidates if path in named])


def describe_conv_block(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> BlockPaths:
    """Return a convolution as a block, in stage and with index 1: its norm, and the activation as its exit."""
    norm = _find_receiver(path, calls, lambda p: isinstance(net.get_submodule(p), NORMS))
    end = norm or path
    activation = _find_activation(net, end, calls)
    return BlockPaths(1, 1, path, (path,), (norm,), path, end, widens=False, shortcut=False, exit=activation)


def adapt_exits(
    net: nn.Module, block: BlockPaths, calls: Mapping[str, ModuleCall], sums: Sequence[tuple[Tensor, Tensor]]
) -> BlockPaths:
    """Return a block without a pool at its end as its exit; a residual branch has neither exit nor entry."""
    if _is_added_to_input(block.path, calls, sums):
        return replace(block, entry=None, exit=None)
    if block.branch_end is None or calls[block.path].output_shape == calls[block.branch_end].output_shape:
        return block
    return replace(block, exit=_find_activation(net, block.branch_end, calls))


def _find_activation(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> str | None:
    return _find_receiver(path, calls, lambda p: type(net.get_submodule(p)).__module__ == ACTIVATIONS)


def _find_receiver(path: str, calls: Mapping[str, ModuleCall], is_wanted: Callable[[str], bool]) -> str | None:
    """Return the module of a kind that takes the output of another, or None if none does that is called only once."""
    return next(
        (p for p, c in calls.items() if c.input is calls[path].output and not c.is_repeated and is_wanted(p)), None
    )


def number_stages(sides: Sequence[int]) -> list[tuple[int, int]]:
    """Return (stage, index in it) of blocks, from 1, from the widths of their maps in the order of the blocks."""
    numbers: list[tuple[int, int]] = []
    for i, side in enumerate(sides):
        stage, index = numbers[-1] if numbers else (1, 0)
        numbers.append((stage + 1, 1) if i and 3 * side <= 2 * sides[i - 1] else (stage, index + 1))
    return numbers


def _list_convs(net: nn.Module, calls: Mapping[str, ModuleCall]) -> list[str]:
    """Return the convolutions with overlapping windows that return a map, without the one that ends the network."""
    order = [path for path in calls if isinstance(net.get_submodule(path), nn.Conv2d | nn.Linear)]
    body = order[:-1] if order and not isinstance(net.get_submodule(order[-1]), nn.Linear) else order
    return [path for path in body if _is_overlapping_conv(net, path) and calls[path].output_shape[-1] > 1]


def _is_overlapping_conv(net: nn.Module, path: str) -> bool:
    conv = net.get_submodule(path)
    return isinstance(conv, nn.Conv2d) and max(conv.kernel_size) > max(conv.stride)


def _holds_conv(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> bool:
    """Return whether a module is no layer and its convolutions and linear layers, one overlapping, all return maps."""
    layers = [p for p in calls if p.startswith(f"{path}.") and isinstance(net.get_submodule(p), nn.Conv2d | nn.Linear)]
    return all(len(calls[p].output_shape) == 4 for p in layers) and any(_is_overlapping_conv(net, p) for p in layers)


def _is_added_to_input(path: str, calls: Mapping[str, ModuleCall], sums: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Return whether the output of a module is added to its input, or to what another module makes of this input."""
    call = calls[path]
    shortcuts = [call.input, *(c.output for p, c in calls.items() if p != path and c.input is call.input)]
    others = [b if a is call.output else a for a, b in sums if (a is call.output) != (b is call.output)]
    return call.input is not None and any(other is s for other in others for s in shortcuts)


def _is_block_sequential(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> bool:
    module = net.get_submodule(path)
    if not isinstance(module, nn.Sequential) or not _holds_conv(net, path, calls):
        return False
    members = [name for name, _ in module.named_children() if _holds_conv(net, f"{path}.{name}", calls)]
    convs = [p for p in calls if p.startswith(f"{path}.") and _is_overlapping_conv(net, p)]
    return len(members) < 2 and number_stages([calls[p].output_shape[-1] for p in convs])[-1][0] == 1


def _keep_outermost(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]


def _matches(path: str, pattern: str) -> bool:
    parts, pattern_parts = path.split("."), pattern.split(".")
    return len(parts) == len(pattern_parts) and all(map(fnmatchcase, parts, pattern_parts))


def _shorten_paths(paths: Sequence[str]) -> list[str]:
    """Return patterns for paths: numbers become `*`."""
    return list(dict.fromkeys(re.sub(r"\d+", "*", path) for path in paths))
