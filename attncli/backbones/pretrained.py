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
from attncli.backbones.structure import NetworkStructure
from attncli.errors import UserError

WEIGHTS = "IMAGENET1K_V1"  # the one that papers compare with, and that torchvision has for each of its networks here
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # as in the file that torchvision still serves


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded from where; `new_parts` names the parts that keep their fresh weights, with the reason."""

    source: str
    tensors: int
    expected_tensors: int
    parameters: int
    new_parts: tuple[str, ...]
    unused_tensors: tuple[str, ...]

    def format_summary(self) -> str:
        """In a line."""
        new_text = f"; new: {', '.join(self.new_parts)}" if self.new_parts else ""
        unused_text = f"; not used: {', '.join(self.unused_tensors)}" if self.unused_tensors else ""
        loaded_text = f"{self.tensors} of {self.expected_tensors} tensors ({self.parameters / 1e6:.2f} M parameters)"
        return f"pretrained: {loaded_text} from {self.source}{new_text}{unused_text}"


def load(net: nn.Module, structure: NetworkStructure, name: str, weights: bool | str) -> LoadedWeights:
    """Put pretrained weights into the plain network `net` of the backbone `name`.

    The classifier and the stem stay new where their shapes differ (other classes, small images). Raises UserError
    where there are no weights, the file can't be read, or anything else differs: then it is of another network.
    """
    source, file_tensors = _fetch_published(name) if weights is True else _read_tensors(Path(str(weights)).expanduser())
    network_tensors = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    fitting = {
        k: file_tensors[k]
        for k in network_tensors
        if k in file_tensors and file_tensors[k].shape == network_tensors[k].shape
    }
    parts: dict[str, str] = {}  # what stays new -> its first tensor
    for key in (k for k in network_tensors if k not in fitting):
        parts.setdefault(_stem_or_classifier(key, structure) or key, key)
    misfits = [k for part, k in parts.items() if part == k]
    if misfits:
        network_shape = tuple(network_tensors[misfits[0]].shape)
        file_shape = (
            f"{tuple(file_tensors[misfits[0]].shape)} in the file" if misfits[0] in file_tensors else "not in the file"
        )
        raise UserError(
            f"model.pretrained: {source} is not of {name}: {misfits[0]} is {network_shape} here and {file_shape}",
            f"{len(fitting)} of {len(network_tensors)} tensors fit; give the state dict of this backbone",
        )
    net.load_state_dict(fitting, strict=False)
    unused = [
        k
        for k in file_tensors
        if k not in network_tensors and not k.endswith("num_batches_tracked") and not _stem_or_classifier(k, structure)
    ]
    count = sum(p.numel() for k, p in net.named_parameters() if k in fitting)
    new_parts = tuple(_describe_difference(key, network_tensors, file_tensors) for key in parts.values())
    return LoadedWeights(source, len(fitting), len(network_tensors), count, new_parts, tuple(unused))


def pretraining_warnings(attn: str) -> tuple[str, ...]:
    """What a mechanism does to the features of a pretrained network when training starts, in a line, if anything."""
    if attn == attention.NONE:
        return ()
    card = attention.describe_mechanism(attn).card
    if card.site in ("conv", "frames-head"):
        replaced = "convolutions" if card.site == "conv" else "classifier"
        return (f"'{attn}' stands in place of pretrained {replaced} and starts from fresh weights",)
    if card.identity:
        return ()
    return (f"'{attn}' is not the identity when it starts: it disturbs the pretrained features until it is trained",)


def _stem_or_classifier(key: str, structure: NetworkStructure) -> str | None:
    """The stem or the classifier, if a tensor belongs to it."""
    return next((p for p in (_top_module(structure.classifier), structure.stem) if f"{key}.".startswith(f"{p}.")), None)


def _top_module(classifier: str) -> str:
    return classifier.partition(".")[0]


def _describe_difference(key: str, network_tensors: Mapping[str, Tensor], file_tensors: Mapping[str, Tensor]) -> str:
    module = key.rpartition(".")[0]
    if key not in file_tensors:
        return f"{module} (not in the file)"
    sizes = ("x".join(map(str, tensors[key].shape)) for tensors in (network_tensors, file_tensors))
    return "{} ({} instead of {})".format(module, *sizes)


def _fetch_published(name: str) -> tuple[str, Mapping[str, Tensor]]:
    """torchvision's weights, from the cache or else downloaded; timm's own for its networks."""
    if name.startswith(backbones.TIMM_PREFIX):
        return backbones.load(name).download_weights(name)
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
    _check_download(path)
    return _read_tensors(path)


def _check_download(path: Path) -> None:
    """torch's cached files carry the first digits of their SHA-256 in their names."""
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if digest and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest[1]):
        raise UserError(f"model.pretrained: {path} is damaged", "delete it and download it again")


def _read_tensors(path: Path) -> tuple[str, Mapping[str, Tensor]]:
    """The tensors of a file by name, out of what else training scripts put around them."""
    try:
        if path.suffix == ".safetensors":
            contents: Any = load_file(path)
        else:
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model.pretrained: {path}: cannot be read: {reason}", "give a state dict as .pth or .safetensors"
        ) from error
    for wrapper in ("state_dict", "model", "net"):
        contents = (
            contents[wrapper] if isinstance(contents, dict) and isinstance(contents.get(wrapper), dict) else contents
        )
    if not isinstance(contents, dict) or not any(isinstance(v, Tensor) for v in contents.values()):
        raise UserError(f"model.pretrained: {path}: holds no tensors by name", "give a state dict")
    tensors = {str(k).removeprefix("module."): v for k, v in contents.items() if isinstance(v, Tensor)}
    return path.name, {_OLD_DENSENET.sub(r"\1\2", k): v for k, v in tensors.items()}
