"""A file of a recipe that is edited while the run trains: the result is of what was trained, and under its name."""

from pathlib import Path
from typing import Any

import pytest

from attncli.errors import UserError
from attncli.measure.cost import count_recipe
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.records import Epoch, Record
from attncli.report.run_figures import save_run_figures
from attncli.run import execute_run
from attncli.run.identity import has_changed_files, identify_run
from attncli.track import RunStore
from attncli.track.provenance import read_finished_result
from attncli.trained import load_trained_network

GATE = """
import torch
from torch import nn

class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones({weights}))

    def forward(self, x):
        return x * self.weight[0]
"""
FIRST, SECOND = GATE.format(weights=1), GATE.format(weights=7)


class Editor:
    """A listener that writes a file when the first epoch ends, and notes the warnings."""

    def __init__(self, file: Path, text: str | None) -> None:
        self.warnings: list[str] = []
        self._file, self._text = file, text

    def on_record(self, record: Record) -> None:
        """Edit the file, or remove it."""
        if isinstance(record, Epoch) and record.epoch == 1:
            if self._text is None:
                self._file.unlink()
            else:
                self._file.write_text(self._text)

    def on_warning(self, what: str) -> None:
        """Note it."""
        self.warnings.append(what)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def make_recipe(file: Path) -> Recipe:
    """A recipe that trains the mechanism of a file in seconds."""
    values = {
        "data": {"per_class": 4},
        "model": {"backbone": "resnet20", "attn": f"{file}:Gate"},
        "train": {"epochs": 2, "batch_size": 16, "precision": "fp32"},
        "measure": {"seconds": 0.1, "repeats": 3, "batch_size": 2},
    }
    return Recipe.model_validate(values)


@pytest.mark.parametrize("text", [SECOND, "class Gate(", None], ids=["other code", "half a line", "removed"])
def test_the_result_is_of_the_code_that_was_trained(text: str | None, tmp_path: Path) -> None:
    """Its digest is the folder's, so that nobody loads the weights into other code; nothing is kept for that code."""
    file = tmp_path / "mine.py"
    file.write_text(FIRST)
    recipe, runs, editor = make_recipe(file), tmp_path / "runs", Editor(file, text)
    identity, counts = identify_run(recipe, recipe.compute_digest()), count_recipe(recipe, InputSpec(10, (8, 8)))
    result = execute_run(recipe, run_store=RunStore(runs), listener=editor, save_figures=save_run_figures)
    folder = runs / identity.digest
    assert (result.digest, result.group, result.category) == (folder.name, identity.group, "own")
    assert (result.params, result.params - (result.baseline_params or 0)) == (counts.params, 9)
    assert read_finished_result(folder) == result
    assert result.train_ratio is None
    assert not (runs / "speeds.json").exists()
    assert any("mine.py has changed while the run trained" in warning for warning in editor.warnings)
    with pytest.raises(UserError):
        load_trained_network(folder)
    file.write_text(SECOND)
    assert count_recipe(recipe, InputSpec(10, (8, 8))).params == counts.params + 9 * 6
    file.write_text(FIRST)
    load_trained_network(folder)


def test_a_file_that_changes_before_the_training_ends_the_run(tmp_path: Path) -> None:
    """The network may be of either code; a file that is touched and not changed is the same."""
    file = tmp_path / "mine.py"
    file.write_text(FIRST)
    recipe = make_recipe(file)
    digest = recipe.compute_digest()
    file.write_text(FIRST)
    assert not has_changed_files(recipe, digest)
    file.write_text(SECOND)
    with pytest.raises(UserError, match=r"mine\.py has changed"):
        identify_run(recipe, digest)
    file.unlink()
    assert has_changed_files(recipe, digest)
