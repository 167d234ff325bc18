"""Load a finished run: its recipe, its images, and its network with the evaluated weights."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attncli import attention, data, model, records
from attncli import recipe as recipes
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.run import make_input_spec
from attncli.track import read_finished_result
from attncli.train import checkpoint


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to analyze."""

    folder: Path
    recipe: Recipe
    dataset: Dataset
    net: nn.Module


def load_finished_run(folder: Path, dataset: Dataset | None = None) -> LoadedRun:
    """Load the network of a run's folder in eval mode, on the CPU in float32, and its images unless they are given.

    Raises UserError if the run is not finished, or its checkpoint or images are missing.
    """
    recipe = recipes.read(folder / "recipe.yaml")
    if records.read_result(folder) is None:
        raise UserError(f"{folder}: this run is not finished", f"attncli run {folder / 'recipe.yaml'} resumes it")
    dataset = dataset or data.load(recipe.data, cache=folder.parent / "cache")
    net = model.build(recipe, make_input_spec(dataset))
    checkpoint.load_weights(folder, net)
    return LoadedRun(folder, recipe, dataset, net.eval())


def load_baseline_run(loaded_run: LoadedRun) -> LoadedRun | None:
    """Load the baseline of the same recipe and seed; None if it is not finished, or is this run."""
    baseline_recipe = loaded_run.recipe.make_baseline()
    folder = loaded_run.folder.parent / baseline_recipe.compute_digest()
    if loaded_run.recipe.model.attn == attention.NONE or read_finished_result(folder) is None:
        return None
    return load_finished_run(folder, loaded_run.dataset)
