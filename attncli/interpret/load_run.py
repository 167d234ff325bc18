"""Load a finished run: its recipe, its images, and its network with the evaluated weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from attncli import attention, data, records
from attncli import recipe as recipes
from attncli.data.dataset import Dataset
from attncli.errors import UserError, quote_word
from attncli.recipe import Recipe
from attncli.run import make_input_spec
from attncli.track import find_finished_result
from attncli.train import checkpoint
from attncli.train.distributed import choose_kernels
from attncli.trained.network import build_without_pretrained, check_own_code


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to analyze."""

    folder: Path
    recipe: Recipe
    dataset: Dataset
    net: nn.Module

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.net.parameters()).device


def load_finished_run(folder: Path, dataset: Dataset | None = None, device: torch.device | str = "cpu") -> LoadedRun:
    """Load the network of a run's folder in eval mode, in float32, and its images unless they are given.

    The network is on `device`.

    Raises UserError if the run is not finished, its checkpoint or images are missing, or the images have changed.
    """
    recipe = recipes.read(folder / "recipe.yaml")
    result = records.read_result(folder)
    if result is None:
        raise UserError(
            f"{folder}: this run is not finished", f"`attncli run {quote_word(folder / 'recipe.yaml')}` resumes it"
        )
    check_own_code(folder, recipe, result.digest)
    dataset = dataset or data.load(recipe.resolve_data(), cache=folder.parent / "cache")
    if result.data_digest not in ("", dataset.digest):
        raise UserError(
            f"{folder}: trained on other images than those of {dataset.origin} now",
            f"`attncli run {quote_word(folder / 'recipe.yaml')}` trains on these",
        )
    choose_kernels(torch.device(device), "fp32")
    net = build_without_pretrained(recipe, make_input_spec(dataset))
    checkpoint.load_weights(folder, net)
    return LoadedRun(folder, recipe, dataset, net.to(device).eval())


def load_baseline_run(loaded_run: LoadedRun) -> LoadedRun | None:
    """Load the baseline of the same recipe, seed and images; None if it is not finished, or is this run."""
    if loaded_run.recipe.model.attn == attention.NONE:
        return None
    runs, baseline_recipe = loaded_run.folder.parent, loaded_run.recipe.make_baseline()
    result = find_finished_result(runs, baseline_recipe, loaded_run.dataset.digest)
    return None if result is None else load_finished_run(runs / result.digest, loaded_run.dataset, loaded_run.device)
