"""A user's own network as a backbone: `--backbone FILE.py:NAME`, a class or a function that returns a network.

It takes the number of classes, under any usual name (`num_classes`, `n_classes`, `out_dim`); every other parameter
needs a default. Blocks are the user's own modules (those of torch itself are layers), found as
`attncli.backbones.module_structure` says, for images of the size that the network is built for. A stage is a size of
maps, the largest is stage 1. A shortcut is known by its name, or as a 1x1 convolution from the block's input to its
output beside another layer. Layers that see no map, such as those of a gate, do not count.

If there are no such modules, or if a recipe names the blocks (`model.block_paths`), `attncli.backbones.plain_blocks`
says what the blocks and stages are.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from attncli.backbones.lazy_layers import check_layers_made, list_lazy_layers
from attncli.backbones.module_structure import (
    ModuleCall,
    describe_block,
    find_block_paths,
    is_spatial_conv,
    trace_calls,
)
from attncli.backbones.plain_blocks import (
    SumRecorder,
    UnclearBlocksError,
    adapt_exits,
    describe_conv_block,
    find_plain_blocks,
    holds_whole_network,
    match_block_paths,
    number_stages,
)
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.user_network_file import find_class_count, split_network_reference
from attncli.errors import UserError
from attncli.system import source_inspection
from attncli.system.user_file import import_user_file, read_file_versions

LAYERS = nn.Conv2d | nn.Linear
_SIZE = "attncli_image_size"  # attribute of a network: (H, W) of the images that it is built for
_BLOCK_PATHS = "attncli_block_paths"  # attribute of a network: the patterns of model.block_paths


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes). Its stem is its own whatever the image.

    One with lazy layers stays on the CPU until `set_image_size`: on the meta device they could not be made.
    """
    path, definition = split_network_reference(name)
    parameter = find_class_count(name)
    device = torch.empty(0).device
    with _user_errors(path, "cannot be built"), torch.device("cpu"):  # it may read values, which meta tensors lack
        net = _load_definition(path, definition, read_file_versions(path))(**{parameter: classes})
    if not isinstance(net, nn.Module):
        raise UserError(f"{name}: not a torch.nn.Module, but {type(net).__name__}", "return the network")
    return net if list_lazy_layers(net) else net.to(device)


def set_image_size(net: nn.Module, name: str, size: tuple[int, int], classes: int) -> None:
    """Tell a network of the user the size of its images. Raises UserError if it fails on them, or returns no logits.

    Layers that it makes in its first pass (`torch.nn.LazyConv2d`) are made here, so they are trained like all others.
    """
    setattr(net, _SIZE, size)
    path, _ = split_network_reference(name)
    with _user_errors(path, f"does not take images of {size[0]}x{size[1]} px"), torch.no_grad():
        if list_lazy_layers(net):
            device = torch.empty(0).device
            with torch.device("cpu"):
                net.eval()(torch.zeros(2, 3, *size))
            check_layers_made(net)
            net.to(device)
        logits = net.eval()(torch.zeros(2, 3, *size))
    net.train()
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{name}: returns {returned} for 2 images, not {(2, classes)}", "return logits, one per class")


def set_block_paths(net: nn.Module, patterns: Sequence[str] | None) -> None:
    """Tell a network of the user which of its modules are its blocks; None leaves that to `find_structure`."""
    setattr(net, _BLOCK_PATHS, patterns)


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network, found from its modules; `net` does not change."""
    recorder = SumRecorder()
    calls = trace_calls(net, getattr(net, _SIZE, (224, 224)), recorder)
    unclear: UserError | None = None
    patterns = getattr(net, _BLOCK_PATHS, None)
    blocks = [] if patterns else _describe_own_blocks(net, calls)
    if not blocks:
        try:
            blocks = _describe_plain_blocks(net, calls, recorder.sums, patterns)
        except UnclearBlocksError as error:
            unclear = error
    order = list(calls)
    stem = next((p for p in order if isinstance(net.get_submodule(p), nn.Conv2d)), order[0])
    classifier = next((p for p in reversed(order) if isinstance(net.get_submodule(p), nn.Linear)), order[-1])
    remarks = "" if blocks else _describe_layers(net, order)
    pool = _find_global_pool(net, calls)
    return NetworkStructure(tuple(blocks), stem, pool, classifier, remarks=remarks, unclear=unclear)


def _describe_own_blocks(net: nn.Module, calls: Mapping[str, ModuleCall]) -> list[BlockPaths]:
    """Return the blocks that are modules of the user's own classes."""
    paths = find_block_paths(net, calls, _is_user_module)
    if len(paths) == 1 and holds_whole_network(net, paths[0], calls):
        return []
    sizes = sorted({calls[path].output_shape[-1] for path in paths}, reverse=True)
    blocks: list[BlockPaths] = []
    for path in paths:
        stage = 1 + sizes.index(calls[path].output_shape[-1])
        index = 1 + sum(b.stage == stage for b in blocks)
        block = describe_block(net, path, stage, index, calls, _find_outside_of_branch(net, path, calls))
        if block is not None:
            blocks.append(block)
    return blocks


def _describe_plain_blocks(
    net: nn.Module,
    calls: Mapping[str, ModuleCall],
    sums: Sequence[tuple[Tensor, Tensor]],
    patterns: Sequence[str] | None,
) -> list[BlockPaths]:
    """Return the blocks that patterns name, or else Sequentials and convolutions. Raises UserError."""
    paths = match_block_paths(net, calls, patterns) if patterns else find_plain_blocks(net, calls, sums)
    described: list[BlockPaths] = []
    for path in paths:
        if isinstance(net.get_submodule(path), nn.Conv2d):
            described.append(describe_conv_block(net, path, calls))
            continue
        block = describe_block(net, path, 1, 1, calls, _find_outside_of_branch(net, path, calls))
        described += [] if block is None else [adapt_exits(net, block, calls, sums)]
    numbers = number_stages([calls[block.convs[-1]].output_shape[-1] for block in described])
    return [replace(block, stage=stage, index=i) for block, (stage, i) in zip(described, numbers, strict=True)]


def _is_user_module(module: nn.Module) -> bool:
    return not type(module).__module__.startswith("torch.")


def _copy_to_meta(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).to("meta").eval()


def _find_outside_of_branch(net: nn.Module, path: str, calls: Mapping[str, ModuleCall]) -> list[str]:
    """Return the layers of a block that are its shortcut, or see no map."""
    block = calls[path]
    layers = [p for p in calls if p.startswith(f"{path}.") and isinstance(net.get_submodule(p), LAYERS)]
    outside = []
    for layer in layers:
        call = calls[layer]
        sees_no_map = len(call.output_shape) != 4 or call.output_shape[-2:] == (1, 1)
        has_sibling = any(calls[other].input is call.input for other in layers if other != layer)
        is_shortcut = (
            not is_spatial_conv(net.get_submodule(layer))
            and call.output_shape == block.output_shape
            and call.input_shape == block.input_shape
            and has_sibling
        )
        if sees_no_map or is_shortcut:
            outside.append(layer)
            outside += _list_norms_of_shortcut(net, layer, calls) if is_shortcut else []
    return outside


def _list_norms_of_shortcut(net: nn.Module, layer: str, calls: Mapping[str, ModuleCall]) -> list[str]:
    """Return the modules beside a shortcut's convolution in one Sequential: the norm that follows it."""
    parent = layer.rpartition(".")[0]
    module = net.get_submodule(parent)
    holds_more = any(is_spatial_conv(child) for child in module.modules())
    return [parent] if isinstance(module, nn.Sequential) and not holds_more else []


def _find_global_pool(net: nn.Module, calls: Mapping[str, ModuleCall]) -> str | None:
    """Return the module that turns the last map into one value per channel, or None if that is no module."""
    for path in reversed(list(calls)):
        call = calls[path]
        is_layer = not any(net.get_submodule(path).children())
        if is_layer and len(call.input_shape) == 4 and call.input_shape[-2:] != (1, 1):
            return path if call.output_shape[-2:] == (1, 1) else None
    return None


def _describe_layers(net: nn.Module, order: list[str]) -> str:
    """Return what a network without blocks has, for the message that refuses mechanisms in it."""
    kinds = {"convolution": nn.Conv2d, "linear layer": nn.Linear, "transformer layer": nn.MultiheadAttention}
    counts = {word: [p for p in order if isinstance(net.get_submodule(p), kind)] for word, kind in kinds.items()}
    texts = []
    for word, paths in counts.items():
        named = ", ".join([*paths[:3], *(["..."] if len(paths) > 3 else [])])
        texts += [f"{len(paths)} {word}{'s' if len(paths) > 1 else ''} ({named})"] if paths else []
    return ", ".join(texts) or "no layers"


@lru_cache(maxsize=64)
def _load_definition(path: Path, definition: str, _: tuple[tuple[int, int], ...]) -> Callable[..., nn.Module]:
    loaded: Callable[..., nn.Module] = getattr(import_user_file(path, f"attncli_network_{path.stem}"), definition)
    return loaded


@contextmanager
def _user_errors(path: Path, failure: str) -> Iterator[None]:
    """Turn what the user's code raises into a UserError of one line, with the line of the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        location = source_inspection.locate_error(error, path)
        message = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{location}: {failure}: {type(error).__name__}: {message}", "fix the file") from error
