"""The pictures of one run, beside its records: curves.png and confusion.png."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attncli import recipe as recipes
from attncli import records
from attncli.records import Evaluation
from attncli.report import plot

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset


def decorate(folder: Path, dataset: "Dataset") -> None:
    """Draw a run that has just ended; this is the `decorate` that `run.run` takes."""
    from attncli.run import title  # loads torch, which is there already when a run has ended

    pictures(folder, dataset.classes, title(recipes.read(folder / "recipe.yaml")))


def pictures(folder: Path, classes: Sequence[str], title: str = "") -> list[Path]:
    """Draw the records of a run's folder; the files made. `classes` are the names in the order of the labels."""
    found = records.read(folder)
    made = []
    if plot.curves(found, folder / "curves.png", title):
        made.append(folder / "curves.png")
    tests = [r for r in found if isinstance(r, Evaluation) and r.split == "test"]
    if tests:
        plot.confusion(tests[-1], classes, folder / "confusion.png", title)
        made.append(folder / "confusion.png")
    return made
