"""A finished run brought back: its recipe, its images, and its network with the weights that were evaluated."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attncli import attention, data, model, records
from attncli import recipe as recipes
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.run import shape
from attncli.track import finished
from attncli.train import checkpoint


@dataclass(frozen=True)
class Trained:
    """A finished run, ready to look at."""

    folder: Path
    recipe: Recipe
    dataset: Dataset
    net: nn.Module


def restore(folder: Path, dataset: Dataset | None = None) -> Trained:
    """The network of a run's folder in eval mode, on the CPU in float32, and its images unless they are given.

    Raises UserError for a run that is not finished, whose checkpoint is gone, or whose images are not to be had.
    """
    recipe = recipes.read(folder / "recipe.yaml")
    if records.result(folder) is None:
        raise UserError(f"{folder}: this run is not finished", f"attncli run {folder / 'recipe.yaml'} goes on with it")
    dataset = dataset or data.load(recipe.data, cache=folder.parent / "cache")
    net = model.build(recipe, shape(dataset))
    checkpoint.weights(folder, net)
    return Trained(folder, recipe, dataset, net.eval())


def baseline_of(trained: Trained) -> Trained | None:
    """The same recipe's plain network at the same seed; None where it is not finished, or is this one."""
    plain = trained.recipe.baseline()
    folder = trained.folder.parent / plain.digest()
    if trained.recipe.model.attn == attention.NONE or finished(folder) is None:
        return None
    return restore(folder, trained.dataset)
