"""timm's networks by name (`timm/NAME`, with the extra `timm`), their parts found by structure.

A block is a module of timm's own that returns a map and holds a spatial convolution (kernel above 1x1) and at least one
more convolution or linear layer; of such modules in each other the outermost that is no stage, that is, no list of
them. A pass without data finds its parts, in the order in which they are called:

- its spatial convolutions, and the norm that follows each before the next convolution;
- its last convolution, and the end of the branch: the norm after it, or the convolution itself if none follows. If a
  linear layer comes after it (ConvNeXt), the branch ends with `drop_path`, if the block has that;
- its squeeze-and-excitation, by the class.

Shortcuts are left out by the names that timm gives them. A stage is a size of maps: 56, 28, 14 and 7 px of 224 are 1
to 4, as in a ResNet. Parallel branches of a block (Inception) count as one, in the order of their calls. How a block
sums is not visible from outside: there is no site join. Networks keep their stem for small images, and those without
such blocks (transformers) take no mechanism.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attncli.backbones import TIMM_PREFIX
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import trace_shapes
from attncli.errors import UserError, suggest_name

SHORTCUTS = {"downsample", "shortcut", "skip", "conv_skip", "drop_path"}
EXCITATIONS = {"SEModule", "SqueezeExcite", "SqueezeExcitation", "EffectiveSEModule", "SqueezeExciteCl"}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """Return the network with random weights; (N, 3, H, W) -> (N, classes). Its stem is timm's whatever the image."""
    make_net = partial(_import_timm().create_model, _check_timm_name(name), pretrained=False, num_classes=classes)
    try:
        net: nn.Module = make_net()
    except NotImplementedError:  # torch 2.6 cannot make timm's RegNets without memory
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
    calls = _trace_calls(net)
    order = list(calls)
    side = _default_image_side(net)
    blocks: list[BlockPaths] = []
    for path in _find_block_paths(net, calls):
        stage = max(1, round(math.log2(side / calls[path].output_shape[-1])) - 1)
        index = 1 + sum(b.stage == stage for b in blocks)
        block = _describe_timm_block(net, path, stage, index, [p for p in order if p.startswith(f"{path}.")], calls)
        if block.convs:  # not all of them in its shortcut
            blocks.append(block)
    stem = next((p for p in order if isinstance(net.get_submodule(p), nn.Conv2d)), order[0])
    head: Any = getattr(net, "get_classifier", lambda: None)()
    classifier = next((p for p, m in net.named_modules() if m is head), order[-1])
    return NetworkStructure(tuple(blocks), stem, _find_pool(net, calls), classifier)


@dataclass(frozen=True)
class _ModuleCall:
    """Shapes of a submodule's input, () if that is no tensor, and output."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def _default_image_side(net: nn.Module) -> int:
    """Return pixels of the images that the network is made for."""
    return int(getattr(net, "default_cfg", {}).get("input_size", (3, 224, 224))[-1])


def _trace_calls(net: nn.Module) -> dict[str, _ModuleCall]:
    """Return the submodules that return one tensor, in the order in which they are called first."""
    meta_copy = copy.deepcopy(net).to("meta").eval()
    started: dict[str, None] = {}
    calls: dict[str, _ModuleCall] = {}

    def register_hooks(path: str, module: nn.Module) -> None:
        def record_start(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            started.setdefault(path)

        def record_call(_: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                input_shape = inputs[0].shape if inputs and isinstance(inputs[0], Tensor) else ()
                calls[path] = _ModuleCall(tuple(input_shape), tuple(out.shape))

        module.register_forward_pre_hook(record_start)
        module.register_forward_hook(record_call)

    for path, module in meta_copy.named_modules():
        if path:
            register_hooks(path, module)
    with torch.no_grad():
        meta_copy(torch.zeros(1, 3, _default_image_side(net), _default_image_side(net), device="meta"))
    return {path: calls[path] for path in started if path in calls}


def _is_spatial_conv(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


def _collect_layers(module: nn.Module) -> list[nn.Module]:
    """Return convolutions and linear layers of a module, without those of built-in excitations."""
    if type(module).__name__ in EXCITATIONS:
        return []
    if isinstance(module, nn.Conv2d | nn.Linear):
        return [module]
    return [layer for child in module.children() for layer in _collect_layers(child)]


def _find_block_paths(net: nn.Module, calls: Mapping[str, _ModuleCall]) -> list[str]:
    """Return the blocks in the order in which they are called."""
    layer_counts = {
        path: len(layers)
        for path, call in calls.items()
        if type(net.get_submodule(path)).__module__.startswith("timm.")
        and len(call.output_shape) == 4
        and call.output_shape[-1] > 1
        and len(layers := _collect_layers(net.get_submodule(path))) > 1
        and any(map(_is_spatial_conv, layers))
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


def _describe_timm_block(
    net: nn.Module, path: str, stage: int, index: int, inside: list[str], calls: Mapping[str, _ModuleCall]
) -> BlockPaths:
    excitation = next((p for p in inside if type(net.get_submodule(p)).__name__ in EXCITATIONS), None)
    shortcut_paths = (f"{path}.{name}" for name in SHORTCUTS)
    excluded_prefixes = tuple(f"{p}." for p in (*shortcut_paths, *([excitation] if excitation else [])))
    branch = [p for p in inside if not f"{p}.".startswith(excluded_prefixes)]
    layers = [p for p in branch if isinstance(net.get_submodule(p), nn.Conv2d | nn.Linear)]
    convs = tuple(p for p in layers if _is_spatial_conv(net.get_submodule(p)))
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
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
            return path
    return None


def _find_pool(net: nn.Module, calls: Mapping[str, _ModuleCall]) -> str | None:
    """Return the module that pools the last map, by timm's name for it."""
    pool_paths = [
        p for p, c in calls.items() if p.rpartition(".")[2] in ("global_pool", "pool") and len(c.input_shape) == 4
    ]
    return pool_paths[-1] if pool_paths else None
