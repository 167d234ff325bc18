"""The pictures of one run, beside its records: curves.png (from two epochs on), confusion.png, classes.png, look/."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli import recipe as recipes
from attncli import records
from attncli.records import Evaluation
from attncli.report import plot
from attncli.report.classes import per_class
from attncli.track.live import LOOK

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset


def decorate(folder: Path, dataset: "Dataset") -> None:
    """Draw a run that has just ended; this is the `decorate` that `run.run` takes."""
    from attncli.run import title  # loads torch, which is there already when a run has ended

    pictures(folder, dataset.classes, title(recipes.read(folder / "recipe.yaml")))


def decorate_and_look(folder: Path, dataset: "Dataset") -> None:
    """The same with the pictures of what the attention does."""
    decorate(folder, dataset)
    look(folder, folder / LOOK, dataset=dataset)


def look(
    folder: Path, out: Path, *, images: int = 6, sample: int = 256, dataset: "Dataset | None" = None
) -> tuple[list[Path], dict[str, Any]]:
    """Draw what a finished run's attention does into `out`: the files, and what was found in figures.

    Its data set is read unless it is given. Raises UserError where the run can't be brought back.
    """
    from attncli.report.look import pictures as draw
    from attncli.run import title
    from attncli.sight import baseline_of, restore, study

    trained = restore(folder, dataset)
    plain = baseline_of(trained)
    found = study(trained, plain, images=images, sample=sample)
    shown = [
        {
            "index": image.index,
            "truth": image.truth,
            "predicted": image.predicted,
            "probability": image.probability,
            "plain_predicted": image.plain_predicted,
            "plain_probability": image.plain_probability,
            "file": str(out / f"look-{image.index}.png"),
        }
        for image in found.images
    ]
    told = {
        "run": title(trained.recipe),
        "digest": folder.name,
        "baseline": plain.folder.name if plain else None,
        "sample": found.sample,
        "images": shown,
        "sites": [spread.told() for spread in found.spreads],
    }
    return draw(found, out, title(trained.recipe)), told


def pictures(folder: Path, classes: Sequence[str], title: str = "") -> list[Path]:
    """Draw the records of a run's folder; the files made. `classes` are the names in the order of the labels."""
    found = records.read(folder)
    made = []
    if plot.curves(found, folder / "curves.png", title):
        made.append(folder / "curves.png")
    tests = [r for r in found if isinstance(r, Evaluation) and r.split == "test"]
    if tests:
        plot.confusion(tests[-1], classes, folder / "confusion.png", title)
        per_class(tests[-1], classes, folder / "classes.png", title)
        made += [folder / "confusion.png", folder / "classes.png"]
    return made
