"""Pretrained weights for a backbone: found, loaded into the plain network, and what was loaded told.

They come from a file (`model.pretrained: PATH`, a state dict as .pth or .safetensors), or are the first weights that
torchvision publishes for ImageNet-1k (`model.pretrained: true`), taken from torch's cache and downloaded if need be.
"""

import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.backbones.anatomy import Anatomy
from attncli.errors import UserError

WEIGHTS = "IMAGENET1K_V1"  # the one that papers compare with, and that torchvision has for each of its networks here
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # as in the file that torchvision still serves


@dataclass(frozen=True)
class Loaded:
    """What was loaded from where; `new` names the parts that keep their fresh weights, with the reason."""

    source: str
    tensors: int
    of: int
    parameters: int
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def told(self) -> str:
        """In a line."""
        new = f"; new: {', '.join(self.new)}" if self.new else ""
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        amount = f"{self.tensors} of {self.of} tensors ({self.parameters / 1e6:.2f} M parameters)"
        return f"pretrained: {amount} from {self.source}{new}{unused}"


def load(net: nn.Module, anatomy: Anatomy, name: str, given: bool | str) -> Loaded:
    """Put pretrained weights into the plain network `net` of the backbone `name`.

    The classifier and the stem stay new where their shapes differ (other classes, small images). Raises UserError
    where there are no weights, the file can't be read, or anything else differs: then it is of another network.
    """
    source, found = _published(name) if given is True else _read(Path(str(given)).expanduser())
    own = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    fitting = {k: found[k] for k in own if k in found and found[k].shape == own[k].shape}
    parts: dict[str, str] = {}  # what stays new -> its first tensor
    for key in (k for k in own if k not in fitting):
        parts.setdefault(_part(key, anatomy) or key, key)
    strange = [k for part, k in parts.items() if part == k]
    if strange:
        here = tuple(own[strange[0]].shape)
        there = f"{tuple(found[strange[0]].shape)} in the file" if strange[0] in found else "not in the file"
        raise UserError(
            f"model.pretrained: {source} is not of {name}: {strange[0]} is {here} here and {there}",
            f"{len(fitting)} of {len(own)} tensors fit; give the state dict of this backbone",
        )
    net.load_state_dict(fitting, strict=False)
    unused = [k for k in found if k not in own and not k.endswith("num_batches_tracked") and not _part(k, anatomy)]
    count = sum(p.numel() for k, p in net.named_parameters() if k in fitting)
    new = tuple(_difference(key, own, found) for key in parts.values())
    return Loaded(source, len(fitting), len(own), count, new, tuple(unused))


def disturbed(attn: str) -> tuple[str, ...]:
    """What a mechanism does to the features of a pretrained network when training starts, in a line, if anything."""
    if attn == attention.NONE:
        return ()
    card = attention.describe(attn).card
    if card.site in ("conv", "frames-head"):
        what = "convolutions" if card.site == "conv" else "classifier"
        return (f"'{attn}' stands in place of pretrained {what} and starts from fresh weights",)
    if card.identity:
        return ()
    return (f"'{attn}' is not the identity when it starts: it disturbs the pretrained features until it is trained",)


def _part(key: str, anatomy: Anatomy) -> str | None:
    """The stem or the classifier, if a tensor belongs to it."""
    return next((p for p in (_top(anatomy.classifier), anatomy.stem) if f"{key}.".startswith(f"{p}.")), None)


def _top(classifier: str) -> str:
    return classifier.partition(".")[0]


def _difference(key: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    module = key.rpartition(".")[0]
    if key not in found:
        return f"{module} (not in the file)"
    sizes = ("x".join(map(str, tensors[key].shape)) for tensors in (own, found))
    return "{} ({} instead of {})".format(module, *sizes)


def _published(name: str) -> tuple[str, Mapping[str, Tensor]]:
    """torchvision's weights, from the cache or else downloaded; timm's own for its networks."""
    if name.startswith(backbones.TIMM):
        return backbones.load(name).weights(name)
    try:
        weights = torchvision.models.get_model_weights(name)[WEIGHTS]
    except (ValueError, KeyError) as error:
        raise UserError(
            f"model.pretrained: torchvision has no weights for {name}", "name a file: --set model.pretrained=FILE.pth"
        ) from error
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / weights.url.rpartition("/")[-1]
    if not path.exists():
        try:
            torch.hub.load_state_dict_from_url(weights.url, progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:  # no network, or not the file that its name says
            raise UserError(
                f"model.pretrained: {path.name} is not in {folder} and cannot be downloaded: {error}",
                f"put it there from {weights.url}, or name a file: --set model.pretrained=FILE.pth",
            ) from error
    _undamaged(path)
    return _read(path)


def _undamaged(path: Path) -> None:
    """torch's cached files carry the first digits of their SHA-256 in their names."""
    promised = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if promised and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(promised[1]):
        raise UserError(f"model.pretrained: {path} is damaged", "delete it and download it again")


def _read(path: Path) -> tuple[str, Mapping[str, Tensor]]:
    """The tensors of a file by name, out of what else training scripts put around them."""
    try:
        if path.suffix == ".safetensors":
            held: Any = load_file(path)
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        what = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model.pretrained: {path}: cannot be read: {what}", "give a state dict as .pth or .safetensors"
        ) from error
    for around in ("state_dict", "model", "net"):
        held = held[around] if isinstance(held, dict) and isinstance(held.get(around), dict) else held
    if not isinstance(held, dict) or not any(isinstance(v, Tensor) for v in held.values()):
        raise UserError(f"model.pretrained: {path}: holds no tensors by name", "give a state dict")
    tensors = {str(k).removeprefix("module."): v for k, v in held.items() if isinstance(v, Tensor)}
    return path.name, {_OLD_DENSENET.sub(r"\1\2", k): v for k, v in tensors.items()}
