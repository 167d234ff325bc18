"""The network of a finished run without its images: weights, classes, image size, and how images are normalised."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from attncli import data, model, records
from attncli import recipe as recipes
from attncli.errors import UserError, quote_word
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.records import Result
from attncli.run import describe_dataset
from attncli.system.code_reference import is_code_reference, split_code_reference, split_combination
from attncli.system.files import path_exists
from attncli.track.own_code import list_changed_code
from attncli.track.provenance import DatasetInfo, Provenance, read_provenance
from attncli.track.tags import format_run_name
from attncli.train import checkpoint

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of a finished run, in eval mode on the CPU in float32, and what it must be given."""

    folder: Path
    recipe: Recipe
    result: Result | None  # None for an exported file
    net: nn.Module
    classes: tuple[str, ...]
    size: tuple[int, int]  # (H, W)
    frames: int | None  # T of clips
    mean: Triple  # of the training images, on a scale of 0 to 1
    std: Triple
    grey_range: tuple[float, float] | None = None  # values that are black and white, if there are 16-bit images

    @property
    def name(self) -> str:
        """The run's name, such as eca-resnet20-s0."""
        return format_run_name(self.recipe)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image, (3, H, W), or of one clip, (T, 3, H, W)."""
        return (*(() if self.frames is None else (self.frames,)), 3, *self.size)


class ImageClassifier(nn.Module):
    """A network that takes images from 0 to 1, (N, 3, H, W), normalises them and returns logits (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, trained: TrainedNetwork) -> None:
        super().__init__()
        self.net = trained.net
        self.register_buffer("mean", torch.tensor(trained.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(trained.std)[:, None, None].clamp_min(1e-6))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the images."""
        return self.net((images - self.mean) / self.std)


def load_trained_network(folder: Path) -> TrainedNetwork:
    """Load the network of a run's folder. Its images are read only if the run did not record their mean and std.

    Raises UserError if the run is not finished, if its checkpoint, or images that must be read, are missing, or if a
    user's file has changed since.
    """
    recipe = recipes.read(folder / "recipe.yaml")
    result = records.read_result(folder)
    if result is None:
        raise UserError(
            f"{folder}: this run is not finished", f"`attncli run {quote_word(folder / 'recipe.yaml')}` resumes it"
        )
    check_own_code(folder, recipe, result.digest)
    info = _read_dataset_info(folder, recipe)
    assert info.mean is not None
    assert info.std is not None
    net = build_without_pretrained(recipe, InputSpec(len(info.classes), info.size, info.frames))
    checkpoint.load_weights(folder, net)
    return TrainedNetwork(
        folder, recipe, result, net.eval(), info.classes, info.size, info.frames, info.mean, info.std, info.grey_range
    )


def check_own_code(folder: Path, recipe: Recipe, digest: str) -> None:
    """Raise UserError if a user's mechanism or network is gone, or is not the code that the run `digest` trained.

    Weights fit changed code too if their names and shapes are the same, and the results would be of neither. Runs of
    earlier versions did not record their code: there the digest is compared, unless the run began with weights of a
    file (`model.pretrained`), with which it is no measure of the code.
    """
    names = (*split_combination(recipe.model.attn), recipe.model.backbone)
    missing = [name for name in names if is_code_reference(name) and not _has_file(name)]
    if missing:
        raise UserError(
            f"{folder}: no file {split_code_reference(missing[0])[0]} here, which this run was trained with",
            "its path counts from the folder in which the run was trained: call attncli there, or put the file here",
        )
    if files := _list_changed_files(folder, recipe, digest):
        raise UserError(
            f"{folder}: {' or '.join(files)} has changed since this run was trained",
            f"put the earlier file back, or train again: `attncli run {quote_word(folder / 'recipe.yaml')}`",
        )


def _list_changed_files(folder: Path, recipe: Recipe, digest: str) -> list[str]:
    """Return the user's files that the run did not train as they are now."""
    origin = read_provenance(folder)
    if origin is not None and origin.own_code:
        return list_changed_code(recipe, origin.own_code.values())
    files = [name for name in (recipe.model.attn, recipe.model.backbone) if ".py" in name]
    if not files or isinstance(recipe.model.pretrained, str) or recipe.compute_digest() == digest:
        return []
    return [] if _matches_in_earlier_place(recipe, origin, digest) else files


def _matches_in_earlier_place(recipe: Recipe, origin: Provenance | None, digest: str) -> bool:
    """Return whether the digest is that of the recipe when its images were where the run had them.

    A folder of images counts in the digest by its absolute path, and may have been moved with the project.
    """
    if recipe.data.root is None or origin is None or origin.facts is None:
        return False
    earlier_data = recipe.data.model_copy(update={"root": origin.facts.source})
    return recipe.model_copy(update={"data": earlier_data}).compute_digest() == digest


def _has_file(name: str) -> bool:
    return path_exists(Path(split_code_reference(name)[0]).expanduser())


def build_without_pretrained(recipe: Recipe, spec: InputSpec) -> nn.Module:
    """Return the network of a recipe without pretrained weights, which a checkpoint replaces anyway."""
    plain_model = recipe.model.model_copy(update={"pretrained": False})
    return model.build(recipe.model_copy(update={"model": plain_model}), spec)


def _read_dataset_info(folder: Path, recipe: Recipe) -> DatasetInfo:
    """Return what the run recorded of its images; runs of earlier versions have no mean, so their images are read."""
    provenance = read_provenance(folder)
    if provenance is not None and provenance.facts is not None and provenance.facts.mean is not None:
        return provenance.facts
    return describe_dataset(data.load(recipe.resolve_data(), cache=folder.parent / "cache"))
