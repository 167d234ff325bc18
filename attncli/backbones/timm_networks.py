"""timm's networks by name (`timm/NAME`, with the extra `timm`), their parts found by structure.

A block is a module of timm's own; `attncli.backbones.module_structure` says how blocks and their parts are found.
Shortcuts are left out by the names that timm gives them. A stage is a size of maps: 56, 28, 14 and 7 px of 224 are 1
to 4, as in a ResNet. Networks keep their stem for small images, and those without such blocks (transformers) take no
mechanism.
"""

import math
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attncli.backbones import TIMM_PREFIX
from attncli.backbones.module_structure import ModuleCall, describe_block, find_block_paths, trace_calls
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import trace_shapes
from attncli.errors import UserError, suggest_name


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes). Its stem is timm's whatever the image."""
    make_net = partial(_import_timm().create_model, _check_timm_name(name), pretrained=False, num_classes=classes)
    try:
        net: nn.Module = make_net()
    except RuntimeError:  # some read values while they are made, which the meta device has not
        device = torch.get_default_device()
        with torch.device("cpu"):
            net = make_net()
        net.to(device)
    return net


def download_weights(name: str) -> tuple[str, Mapping[str, Tensor]]:
    """Return (source, tensors by name) of timm's pretrained weights. Raises UserError if they cannot be downloaded."""
    try:
        net = _import_timm().create_model(_check_timm_name(name), pretrained=True)
    except Exception as error:  # timm asks a hub with libraries of its own, each with its own errors
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model.pretrained: the weights of {name} are not here and cannot be downloaded: {reason}",
            "name a file: --set model.pretrained=FILE.safetensors",
        ) from error
    return name, net.state_dict()


def _import_timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise UserError("timm/...: timm is not installed", "pip install 'attncli[timm]'") from error
    return timm


def _check_timm_name(name: str) -> str:
    model_name = name.removeprefix(TIMM_PREFIX)
    known = _import_timm().list_models()
    if model_name.partition(".")[0] not in known:
        raise UserError(f"model.backbone: {name}: timm has no such network", suggest_name(model_name, known))
    return model_name


def check_image_size(net: nn.Module, name: str, size: tuple[int, int]) -> None:
    """Raise UserError if the network does not take images of `size`, such as one with position embeddings."""
    try:
        trace_shapes(net, size)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"model.backbone: {name} does not take images of {size[0]}x{size[1]} px: {str(error).splitlines()[0]}",
            f"--image-size {_default_image_side(net)} is what it is made for",
        ) from error


def find_structure(net: nn.Module) -> NetworkStructure:
    """Return the parts of a network, found from its modules; `net` does not change."""
    side = _default_image_side(net)
    calls = trace_calls(net, (side, side))
    order = list(calls)
    blocks: list[BlockPaths] = []
    for path in find_block_paths(net, calls, lambda module: type(module).__module__.startswith("timm.")):
        stage = max(1, round(math.log2(side / calls[path].output_shape[-1])) - 1)
        block = describe_block(net, path, stage, 1 + sum(b.stage == stage for b in blocks), calls)
        if block is not None:
            blocks.append(block)
    stem = next((p for p in order if isinstance(net.get_submodule(p), nn.Conv2d)), order[0])
    head: Any = getattr(net, "get_classifier", lambda: None)()
    classifier = next((p for p, m in net.named_modules() if m is head), order[-1])
    return NetworkStructure(tuple(blocks), stem, _find_pool(net, calls), classifier)


def _default_image_side(net: nn.Module) -> int:
    """Return pixels of the images that the network is made for."""
    return int(getattr(net, "default_cfg", {}).get("input_size", (3, 224, 224))[-1])


def _find_pool(net: nn.Module, calls: Mapping[str, ModuleCall]) -> str | None:
    """Return the module that pools the last map, by timm's name for it."""
    pool_paths = [
        p for p, c in calls.items() if p.rpartition(".")[2] in ("global_pool", "pool") and len(c.input_shape) == 4
    ]
    return pool_paths[-1] if pool_paths else None
