"""timm's networks by name (`timm/NAME`, with the extra `timm`), their parts found by structure.

A block is a module of timm's own that returns a map and holds a spatial convolution (kernel above 1x1) and at least one
more convolution or linear layer; of such modules in each other the outermost that is no stage, that is, no list of
them. Its parts are told by a pass without numbers, in the order in which they are called:

- its spatial convolutions, and the norm that follows each before the next convolution;
- its last convolution, and what ends the branch: the norm after it, or itself where none follows. Where a linear layer
  comes after it (ConvNeXt) the branch ends with `drop_path`, if the block has that;
- its squeeze-and-excitation, by the class.

Shortcuts are left out by the names that timm gives them. A stage is a size of maps: 56, 28, 14 and 7 px of 224 are 1
to 4, as in a ResNet. Parallel branches of a block (Inception) are taken for one, in the order of their calls. How a
block sums can't be told from outside: there is no site join. Networks keep their stem for small images, and those
without such blocks (transformers) take no mechanism.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attncli.backbones import TIMM
from attncli.backbones.anatomy import Anatomy, Block
from attncli.backbones.insert import shapes
from attncli.errors import UserError, nearest

SHORTCUTS = {"downsample", "shortcut", "skip", "conv_skip", "drop_path"}
EXCITATIONS = {"SEModule", "SqueezeExcite", "SqueezeExcitation", "EffectiveSEModule", "SqueezeExciteCl"}


def build(name: str, classes: int, cifar_stem: bool) -> nn.Module:
    """The network with random weights; (N, 3, H, W) -> (N, classes). Its stem is timm's whatever the image."""
    net: nn.Module = _timm().create_model(_known(name), pretrained=False, num_classes=classes)
    return net


def weights(name: str) -> tuple[str, Mapping[str, Tensor]]:
    """(where from, tensors by name) of timm's pretrained weights. Raises UserError where they can't be had."""
    try:
        net = _timm().create_model(_known(name), pretrained=True)
    except Exception as error:  # timm asks a hub with libraries of its own, each with its own errors
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model.pretrained: the weights of {name} are not here and cannot be downloaded: {why}",
            "name a file: --set model.pretrained=FILE.safetensors",
        ) from error
    return name, net.state_dict()


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise UserError("timm/...: timm is not installed", "pip install 'attncli[timm]'") from error
    return timm


def _known(name: str) -> str:
    own = name.removeprefix(TIMM)
    known = _timm().list_models()
    if own.partition(".")[0] not in known:
        raise UserError(f"model.backbone: {name}: timm has no such network", nearest(own, known))
    return own


def check(net: nn.Module, name: str, size: tuple[int, int]) -> None:
    """Raises UserError where the network does not take images of `size`, as those with position embeddings."""
    try:
        shapes(net, size)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"model.backbone: {name} does not take images of {size[0]}x{size[1]} px: {str(error).splitlines()[0]}",
            f"--image-size {_side(net)} is what it is made for",
        ) from error


def anatomy(net: nn.Module) -> Anatomy:
    """The parts of a network, found by structure; `net` is left as it is."""
    calls = _calls(net)
    order = list(calls)
    side = _side(net)
    blocks: list[Block] = []
    for path in _block_paths(net, calls):
        stage = max(1, round(math.log2(side / calls[path].out[-1])) - 1)
        index = 1 + sum(b.stage == stage for b in blocks)
        block = _block(net, path, stage, index, [p for p in order if p.startswith(f"{path}.")], calls)
        if block.convs:  # not all of them in its shortcut
            blocks.append(block)
    stem = next((p for p in order if isinstance(net.get_submodule(p), nn.Conv2d)), order[0])
    head: Any = getattr(net, "get_classifier", lambda: None)()
    classifier = next((p for p, m in net.named_modules() if m is head), order[-1])
    return Anatomy(tuple(blocks), stem, _pool(net, calls), classifier)


@dataclass(frozen=True)
class _Call:
    """Shapes of a submodule's input, () where that is no tensor, and output."""

    taken: tuple[int, ...]
    out: tuple[int, ...]


def _side(net: nn.Module) -> int:
    """Pixels of the images that the network is made for."""
    return int(getattr(net, "default_cfg", {}).get("input_size", (3, 224, 224))[-1])


def _calls(net: nn.Module) -> dict[str, _Call]:
    """The submodules that return one tensor, in the order in which they are called first."""
    copied = copy.deepcopy(net).to("meta").eval()
    started: dict[str, None] = {}
    found: dict[str, _Call] = {}

    def note(path: str, module: nn.Module) -> None:
        def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            started.setdefault(path)

        def after(_: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
            if isinstance(out, Tensor):
                taken = inputs[0].shape if inputs and isinstance(inputs[0], Tensor) else ()
                found[path] = _Call(tuple(taken), tuple(out.shape))

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    for path, module in copied.named_modules():
        if path:
            note(path, module)
    with torch.no_grad():
        copied(torch.zeros(1, 3, _side(net), _side(net), device="meta"))
    return {path: found[path] for path in started if path in found}


def _spatial(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1


def _layers(module: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers of a module, without those of built-in excitations."""
    if type(module).__name__ in EXCITATIONS:
        return []
    if isinstance(module, nn.Conv2d | nn.Linear):
        return [module]
    return [layer for child in module.children() for layer in _layers(child)]


def _block_paths(net: nn.Module, calls: Mapping[str, _Call]) -> list[str]:
    """The blocks in the order in which they are called."""
    found = {
        path: len(layers)
        for path, call in calls.items()
        if type(net.get_submodule(path)).__module__.startswith("timm.")
        and len(call.out) == 4
        and call.out[-1] > 1
        and len(layers := _layers(net.get_submodule(path))) > 1
        and any(map(_spatial, layers))
    }
    blocks = [path for path in found if not _is_stage(net, path, found)]
    return [path for path in blocks if not any(path.startswith(f"{other}.") for other in blocks)]


def _is_stage(net: nn.Module, path: str, found: Mapping[str, int]) -> bool:
    """Whether a module is a list of others in `found` (path -> layers), or has one, or nothing beside them."""
    inside = [other for other in found if other.startswith(f"{path}.")]
    if any(_listed(net, path, other) for other in inside):
        return True
    direct = [other for other in inside if not any(other.startswith(f"{o}.") for o in inside)]
    return bool(direct) and sum(found[other] for other in direct) == found[path]


def _listed(net: nn.Module, path: str, inside: str) -> bool:
    """Whether a list of modules lies on the way from `path` to a module in it."""
    names = inside.split(".")[:-1]
    way = (".".join(names[:n]) for n in range(path.count(".") + 1, len(names) + 1))
    return any(isinstance(net.get_submodule(p), nn.Sequential | nn.ModuleList | nn.ModuleDict) for p in way)


def _block(net: nn.Module, path: str, stage: int, index: int, inside: list[str], calls: Mapping[str, _Call]) -> Block:
    excitation = next((p for p in inside if type(net.get_submodule(p)).__name__ in EXCITATIONS), None)
    aside = (f"{path}.{name}" for name in SHORTCUTS)
    left_out = tuple(f"{p}." for p in (*aside, *([excitation] if excitation else [])))
    branch = [p for p in inside if not f"{p}.".startswith(left_out)]
    layers = [p for p in branch if isinstance(net.get_submodule(p), nn.Conv2d | nn.Linear)]
    convs = tuple(p for p in layers if _spatial(net.get_submodule(p)))
    norms = {layer: _norm_after(net, branch, layer) for layer in layers}
    last: str | None = layers[-1]
    if last is not None and isinstance(net.get_submodule(last), nn.Linear):
        last, end = None, f"{path}.drop_path" if f"{path}.drop_path" in calls else None
    else:
        end = norms[layers[-1]] or last
    return Block(
        stage,
        index,
        path,
        convs,
        tuple(norms[c] for c in convs),
        last,
        end,
        widens=len(layers) > 2 or len(convs) > 1,
        shortcut=False,
        entry="" if calls[path].taken else None,
        exit="" if calls[path].taken else None,
        se=excitation,
    )


def _norm_after(net: nn.Module, branch: list[str], layer: str) -> str | None:
    """The norm that is called after a layer and before the next."""
    for path in branch[branch.index(layer) + 1 :]:
        module = net.get_submodule(path)
        if isinstance(module, nn.Conv2d | nn.Linear):
            return None
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
            return path
    return None


def _pool(net: nn.Module, calls: Mapping[str, _Call]) -> str | None:
    """What pools the last map, by timm's name for it."""
    named = [p for p, c in calls.items() if p.rpartition(".")[2] in ("global_pool", "pool") and len(c.taken) == 4]
    return named[-1] if named else None
