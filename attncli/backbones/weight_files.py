"""Files of weights as people have them, read without running anything in them, and the tensors of a network in them.

A checkpoint is a pickle. torch's reader for weights makes tensors and plain values only; other objects in the file,
such as the options of a training script, are replaced by empty ones and named.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from attncli.errors import UserError
from attncli.system.failed_downloads import read_failed_download

MOST_CLASSES = 200  # of objects in a file that are replaced
DEEPEST = 3  # dicts within dicts that are searched for tensors
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # as in the file that torchvision still serves
_NOT_ALLOWED = re.compile(r"GLOBAL (\S+) was not an allowed global")


@dataclass(frozen=True)
class NetworkWeights:
    """The tensors of one network in a file, by the network's names; `unused` says what else the file holds."""

    source: str
    tensors: Mapping[str, Tensor]
    unused: tuple[str, ...] = ()


class _SkippedObject:
    """Stands for an object of a class that is not loaded; whatever the file says about it is forgotten."""

    def __new__(cls, *_: Any) -> "_SkippedObject":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


class _SkippedMapping:
    """Stands for a mapping of a class that is not loaded; it becomes a plain one."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


def check_values(fitting: Mapping[str, Tensor], network_tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise UserError if a tensor of a file cannot be weights: not finite, complex, or whole numbers."""
    for name, tensor in fitting.items():
        if not network_tensors[name].is_floating_point():
            continue
        if not tensor.is_floating_point():
            problem = f"{name} holds {str(tensor.dtype).removeprefix('torch.')}"
        elif not tensor.float().isfinite().all():
            problem = f"{name} holds values that are not finite"
        else:
            continue
        raise UserError(f"model.pretrained: {source}: {problem}", "give weights in floating point, of a sound training")


def read_network_weights(path: Path, names: Mapping[str, torch.Size]) -> NetworkWeights:
    """Return the tensors of a file that fit a network best.

    The file may hold several state dicts, in dicts (`state_dict`, `model`, `model_ema`, ...) and under prefixes
    (`module.`, `backbone.`, `_orig_mod.`, ...). The one of which most tensors fit is taken, the first of equals.

    Args:
        path: A state dict, or a checkpoint that holds one, as .pth or .safetensors.
        names: The names and shapes of the network's tensors.

    Raises:
        UserError: The file cannot be read without running it, or it holds no tensors by name.
    """
    contents, skipped_classes = _read_contents(path)
    groups = dict(_find_tensor_groups(contents))
    if not groups:
        reason = f" besides objects that are not loaded ({', '.join(skipped_classes[:3])})" if skipped_classes else ""
        raise UserError(
            f"model.pretrained: {path}: holds no tensors by name{reason}",
            "give a state dict; of a whole network, torch.save(network.state_dict(), FILE) writes it",
        )
    choices = [
        (_count_fitting(tensors, prefix, names), place, prefix)
        for place, tensors in groups.items()
        for prefix in _list_prefixes(tensors, names)
    ]
    count = max(choice[0] for choice in choices)
    _, place, prefix = next(choice for choice in choices if choice[0] == count)
    chosen = {key.removeprefix(prefix): value for key, value in groups[place].items() if key.startswith(prefix)}
    details = [f"'{place}'"] if place else []
    details += [f"names without '{prefix}'"] if prefix else []
    return NetworkWeights(
        path.name + (f" ({', '.join(details)})" if details else ""),
        chosen,
        (*_list_left_tensors(groups, place, prefix), *(f"{name} objects" for name in skipped_classes)),
    )


def _read_contents(path: Path) -> tuple[Any, list[str]]:
    """Return what a file holds, and the classes of the objects in it that were replaced by empty ones."""
    if kind := read_failed_download(path) or _identify_other_format(path):
        raise UserError(f"model.pretrained: {path}: {kind}", "give a state dict as .pth or .safetensors")
    try:
        if path.suffix == ".safetensors" or _has_safetensors_head(path):
            return load_file(path), []
        return _load_checkpoint(path)
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    except (pickle.UnpicklingError, SafetensorError) as error:
        match = re.search(r"(?:GLOBAL|Unsupported|Can only|Only|Detected)[^\n]*", str(error))
        reason = (match[0] if match else str(error) or type(error).__name__).splitlines()[0][:200]
    raise UserError(
        f"model.pretrained: {path}: cannot be read: {reason}",
        "give a state dict as .pth or .safetensors, saved alone where the file was made: torch.save(state_dict, FILE)",
    )


def _identify_other_format(path: Path) -> str | None:
    """Return what a file of weights of another kind is, or None if it may be a state dict."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        members = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else None
    except (OSError, zipfile.BadZipFile):
        return None
    if head == b"\x89HDF":
        return "an HDF5 file, as Keras writes"
    if members is None or any(name.endswith("data.pkl") and not _has_code(members) for name in members):
        return None
    if _has_code(members):
        return "a network in TorchScript"
    return "arrays of NumPy" if any(name.endswith(".npy") for name in members) else "an archive: unpack it"


def _has_code(members: Sequence[str]) -> bool:
    """Return whether an archive of torch holds a network as a program."""
    return any("/code/" in name for name in members)


def _has_safetensors_head(path: Path) -> bool:
    """Return whether a file begins with the length of a header in JSON that it is long enough to hold."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _load_checkpoint(path: Path) -> tuple[Any, list[str]]:
    """Read a checkpoint with torch's reader of weights, which runs nothing; classes that it refuses are replaced."""
    failure: Exception | None = None
    for placeholder in (_SkippedObject, _SkippedMapping):
        skipped: dict[str, type] = {}
        while len(skipped) < MOST_CLASSES:
            try:
                with torch.serialization.safe_globals([(stub, name) for name, stub in skipped.items()]):
                    return torch.load(path, map_location="cpu", weights_only=True), list(skipped)
            except (pickle.UnpicklingError, TypeError, ValueError, AttributeError) as error:
                failure = error
                refused = _NOT_ALLOWED.search(str(error))
                if refused is None or refused[1] in skipped:
                    break
                name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
                skipped[name] = type(placeholder.__name__, (placeholder,), {})
        if not skipped:
            break
    assert failure is not None
    raise failure


def _find_tensor_groups(contents: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield (place, tensors by name) for every mapping in a file that holds tensors."""
    if not isinstance(contents, Mapping) or depth > DEEPEST:
        return
    tensors = {_OLD_DENSENET.sub(r"\1\2", str(k)): v for k, v in contents.items() if isinstance(v, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in contents.items():
        yield from _find_tensor_groups(value, f"{place}.{key}" if place else str(key), depth + 1)


def _list_prefixes(tensors: Mapping[str, Tensor], names: Mapping[str, torch.Size]) -> list[str]:
    """Return what may stand before the network's names in a file, in the file's order; nothing comes first."""
    ordered_names = list(names)
    probes = {ordered_names[i] for i in (0, len(names) // 3, 2 * len(names) // 3, len(names) - 1)}
    prefixes = dict.fromkeys(
        key.removesuffix(probe) for key in tensors for probe in probes if key.endswith(f".{probe}")
    )
    return ["", *prefixes]


def _count_fitting(tensors: Mapping[str, Tensor], prefix: str, names: Mapping[str, torch.Size]) -> int:
    return sum(
        (tensor := tensors.get(prefix + name)) is not None and tensor.shape == shape for name, shape in names.items()
    )


def _list_left_tensors(groups: Mapping[str, Mapping[str, Tensor]], place: str, prefix: str) -> list[str]:
    """Return how many tensors of each other group, and under each other prefix of the same group, were left."""
    counts: dict[str, int] = {}
    for key in groups[place]:
        if not key.startswith(prefix):
            shared = prefix.split(".")
            steps = key.split(".")
            length = next((i for i, (a, b) in enumerate(zip(steps, shared, strict=False)) if a != b), 0) + 1
            name = ".".join(steps[:length])
            counts[name] = counts.get(name, 0) + 1
    for other, tensors in groups.items():
        if other != place:
            counts[f"'{other}'"] = len(tensors)
    return [f"{name} ({count} tensors)" if count > 1 else name for name, count in counts.items()]
