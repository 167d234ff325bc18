"""Find pretrained weights, load them into a plain network, and report what was loaded.

The weights come from a file (`model.pretrained: PATH`, a state dict as .pth or .safetensors, or the folder of a run of
attncli), or are the first that torchvision publishes for ImageNet-1k (`model.pretrained: true`), from torch's cache or
else downloaded. If the file has the weights of a mechanism too, `load_mechanisms` loads them after it was inserted.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision.models
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from attncli.attention import Mechanism
from attncli.backbones import TIMM_PREFIX, timm_networks
from attncli.backbones.grey_stem import fit_stem_weight
from attncli.backbones.structure import NetworkStructure
from attncli.backbones.surgery import find_mechanisms, read_reference
from attncli.backbones.weight_files import NetworkWeights, check_values, read_network_weights
from attncli.errors import UserError
from attncli.recipe.run_weights import locate_weights

WEIGHTS = "IMAGENET1K_V1"  # papers compare with these, and torchvision has them for each of its networks here
HOST, ATTENTION = ".host.", "attn"  # in the names of a network with mechanisms, see attncli.backbones.surgery
MOST_NAMES = 8  # unused tensors that are named


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded, and from where; `new_parts` names the parts that keep their random weights, with the reason."""

    source: str
    tensors: int
    expected_tensors: int
    parameters: int
    new_parts: tuple[str, ...]
    unused_tensors: tuple[str, ...]

    def format_summary(self) -> str:
        """Return it as one line."""
        new_text = f"; new: {', '.join(self.new_parts)}" if self.new_parts else ""
        unused_text = f"; not used: {', '.join(self.unused_tensors)}" if self.unused_tensors else ""
        loaded_text = f"{self.tensors} of {self.expected_tensors} tensors ({self.parameters / 1e6:.2f} M parameters)"
        return f"pretrained: {loaded_text} from {self.source}{new_text}{unused_text}"


def load(net: nn.Module, structure: NetworkStructure, name: str, weights: bool | str) -> LoadedWeights:
    """Put pretrained weights into the plain network `net` of the backbone `name`.

    The classifier and the stem stay new if their shapes differ (other classes, small images). A stem for grey images
    gets the weights of a stem for colour, summed over the colours.

    Args:
        net: The network, changed in place.
        structure: Its parts.
        name: The backbone.
        weights: True for the published weights, or the path of a state dict.

    Raises:
        UserError: There are no weights, the file cannot be read, or it belongs to another network.
    """
    network_tensors = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    shapes = {key: tensor.shape for key, tensor in network_tensors.items()}
    if weights is True:
        file_weights = _fetch_published(name, shapes)
    else:
        file_weights = _read_weights(Path(str(weights)).expanduser(), shapes)
    file_tensors = _convert_to_plain(file_weights.tensors, shapes)
    fitting = {k: file_tensors[k] for k in shapes if k in file_tensors and file_tensors[k].shape == shapes[k]}
    mechanism_places = _find_mechanism_places(net, file_tensors)
    new_tensors = _group_new_tensors([k for k in shapes if k not in fitting], structure)
    replaced_modules = set(mechanism_places.values())
    misfits = [k for part, k in new_tensors.items() if part == k and k.rpartition(".")[0] not in replaced_modules]
    if misfits:
        key = misfits[0]
        file_shape = f"{tuple(file_tensors[key].shape)} in the file" if key in file_tensors else "not in the file"
        raise UserError(
            f"model.pretrained: {file_weights.source} is not of {name}: {key} is {tuple(shapes[key])} here and "
            f"{file_shape}",
            f"{len(fitting)} of {len(shapes)} tensors fit; give the state dict of this backbone",
        )
    check_values(fitting, network_tensors, file_weights.source)
    net.load_state_dict(fitting, strict=False)
    known_names = {*shapes, *mechanism_places}
    return LoadedWeights(
        source=file_weights.source,
        tensors=len(fitting),
        expected_tensors=len(shapes),
        parameters=sum(p.numel() for k, p in net.named_parameters() if k in fitting),
        new_parts=tuple(_describe_difference(key, network_tensors, file_tensors) for key in new_tensors.values()),
        unused_tensors=(*_list_unused(file_tensors, known_names, structure), *file_weights.unused),
    )


def _convert_to_plain(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return the tensors of a file as the plain network has them: by its names, for grey images if its stem is."""
    plain_names = {name: name.replace(HOST, ".") for name in tensors}
    return {plain_names[name]: fit_stem_weight(t, shapes.get(plain_names[name])) for name, t in tensors.items()}


def _group_new_tensors(keys: Iterable[str], structure: NetworkStructure) -> dict[str, str]:
    """Return the first tensor of each part that stays new: of the stem, of the classifier, or the tensor alone."""
    first_tensors: dict[str, str] = {}
    for key in keys:
        first_tensors.setdefault(_stem_or_classifier(key, structure) or key, key)
    return first_tensors


def _list_unused(names: Iterable[str], known_names: Set[str], structure: NetworkStructure) -> list[str]:
    """Return the tensors of a file that the network has no use for; of many only the first ones, and how many more."""
    unused = [
        name
        for name in names
        if name not in known_names
        and not name.endswith("num_batches_tracked")
        and not _stem_or_classifier(name, structure)
    ]
    return _shorten_list(unused)


def load_mechanisms(net: nn.Module, weights: str) -> str | None:
    """Load the weights of the mechanisms that a file has too, in place. Return a line that says what was loaded.

    Only tensors of the same name and shape are loaded. Returns None if there are none.

    Args:
        net: The finished network, with its mechanisms.
        weights: The path of a state dict, or of a run's folder.
    """
    prefixes = tuple(f"{path}." for path in find_mechanisms(net))
    own_tensors = {k: v for k, v in net.state_dict().items() if k.startswith(prefixes)}
    if not own_tensors:
        return None
    file_weights = _read_weights(Path(weights).expanduser(), {k: v.shape for k, v in net.state_dict().items()})
    source, file_tensors = file_weights.source, file_weights.tensors
    fitting = {
        k: file_tensors[k] for k, v in own_tensors.items() if k in file_tensors and file_tensors[k].shape == v.shape
    }
    if not fitting:
        return None
    check_values(fitting, own_tensors, source)
    net.load_state_dict(fitting, strict=False)
    return f"pretrained: {len(fitting)} of {len(own_tensors)} tensors of the mechanism from {source}"


def _find_mechanism_places(plain: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Return the tensors of a file that belong to mechanisms, each with the path of the module that has the mechanism.

    The network may have modules called `attn` itself, and so may a mechanism: of several places the last one that the
    plain network has counts.
    """
    modules, own_names = dict(plain.named_modules()), plain.state_dict().keys()
    places_by_tensor = {}
    for name in names:
        words = name.split(".")
        places = [".".join(words[:i]) for i, word in enumerate(words) if i and word == ATTENTION]
        if places and name not in own_names:
            places_by_tensor[name] = next((place for place in reversed(places) if place in modules), places[0])
    return places_by_tensor


def pretraining_warnings(mechanism: Mechanism | None, net: nn.Module) -> tuple[str, ...]:
    """Return one line for each mechanism of `net` that disturbs the features of a pretrained network at first."""
    if mechanism is None:
        return ()
    if mechanism.parts:
        return tuple(line for part in mechanism.parts for line in pretraining_warnings(part, net))
    card = mechanism.card
    if card.host_kernel:
        return (f"'{mechanism.name}' starts with the pretrained kernels, unless an option gives its own another size",)
    if card.site in ("conv", "frames-head"):
        replaced = "convolutions" if card.site == "conv" else "classifier"
        return (f"'{mechanism.name}' replaces pretrained {replaced} and starts from random weights",)
    if _starts_as_identity(mechanism, net):
        return ()
    return (
        f"'{mechanism.name}' does not start as the identity: until it is trained it disturbs the pretrained features",
    )


def _starts_as_identity(mechanism: Mechanism, net: nn.Module) -> bool:
    """Return whether a mechanism leaves every map as it is at first: as its modules say, or else its card."""
    modules = [module for module in find_mechanisms(net).values() if read_reference(module) == mechanism.reference]
    return all(getattr(module, "starts_as_identity", mechanism.card.identity) is True for module in modules)


def _stem_or_classifier(key: str, structure: NetworkStructure) -> str | None:
    """Return the path of the stem or the classifier if a tensor belongs to it."""
    classifier = structure.classifier.partition(".")[0]  # the whole head, of which the last layer may be a part
    return next((path for path in (classifier, structure.stem) if f"{key}.".startswith(f"{path}.")), None)


def _describe_difference(key: str, network_tensors: Mapping[str, Tensor], file_tensors: Mapping[str, Tensor]) -> str:
    module = key.rpartition(".")[0]
    if key not in file_tensors:
        return f"{module} (not in the file)"
    sizes = ("x".join(map(str, tensors[key].shape)) for tensors in (network_tensors, file_tensors))
    return "{} ({} instead of {})".format(module, *sizes)


def _shorten_list(names: list[str]) -> list[str]:
    """Return the names of unused tensors; of many only the first ones, and how many more there are."""
    return names if len(names) <= MOST_NAMES else [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]


def _fetch_published(name: str, shapes: Mapping[str, torch.Size]) -> NetworkWeights:
    """Return the weights that torchvision, or timm for its networks, publishes."""
    if name.startswith(TIMM_PREFIX):
        return NetworkWeights(*timm_networks.download_weights(name))
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
        except (OSError, RuntimeError) as error:  # no network, or a damaged file
            raise UserError(
                f"model.pretrained: {path.name} is not in {folder} and cannot be downloaded: {error}",
                f"put it there from {weights.url}, or name a file: --set model.pretrained=FILE.pth",
            ) from error
    _check_download(path)
    return read_network_weights(path, shapes)


def _check_download(path: Path) -> None:
    """Raise UserError for a damaged file: torch's file names hold the first digits of their SHA-256."""
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if digest and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest[1]):
        raise UserError(f"model.pretrained: {path} is damaged", "delete it and download it again")


def _read_weights(path: Path, names: Mapping[str, torch.Size]) -> NetworkWeights:
    """Return the tensors of a file that fit a network best; of a run's folder those that were evaluated.

    The weights that were evaluated are the moving average if the run has one. Raises UserError if the file cannot be
    read.
    """
    checkpoint = locate_weights(path)
    if checkpoint == path:
        return read_network_weights(path, names)
    try:
        saved = load_file(checkpoint)
    except (OSError, SafetensorError) as error:
        raise UserError(f"model.pretrained: {checkpoint}: cannot be read: {error}", "give another run") from error
    live, averaged = (
        {name.removeprefix(group): tensor for name, tensor in saved.items() if name.startswith(group)}
        for group in ("model/", "ema/")
    )
    return NetworkWeights(f"run {path.name}", live | averaged)
