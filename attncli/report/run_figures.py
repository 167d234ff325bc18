"""All figures of one run, beside its records: curves.png (from two epochs on), confusion.png, classes.png, look/."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli import recipe as recipes
from attncli import records
from attncli.errors import UserError, join_hints
from attncli.records import Epoch, Evaluation
from attncli.report import evaluation_pictures
from attncli.track.active_run import LOOK_FOLDER

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.interpret import LoadedRun


def save_run_figures(folder: Path, dataset: "Dataset") -> None:
    """Draw a run that has just ended; this is the `save_run_figures` that `run.execute_run` takes."""
    from attncli.run import format_run_title  # loads torch, which is there already when a run has ended

    draw_records(folder, dataset.classes, format_run_title(recipes.read(folder / "recipe.yaml")))


def save_all_run_figures(folder: Path, dataset: "Dataset") -> str | None:
    """Draw a run that has just ended, and what its attention does. Return what the pictures lack, if anything."""
    save_run_figures(folder, dataset)
    _, summary = draw_attention(folder, folder / LOOK_FOLDER, dataset=dataset)
    problem = summary["baseline_problem"]
    return None if problem is None else f"the pictures lack Grad-CAM of the plain network: {problem}"


def draw_attention(
    folder: Path,
    output_folder: Path,
    *,
    images: int = 6,
    sample: int = 256,
    dataset: "Dataset | None" = None,
    device: str = "cpu",
) -> tuple[list[Path], dict[str, Any]]:
    """Draw what a finished run's attention does into `output_folder`. Return the files and a summary for JSON.

    The run's dataset is read if it is not given. The network runs on `device`. The summary says as `baseline_problem`
    why the plain network of a finished run is missing from the pictures, such as that its checkpoint was deleted.
    Raises UserError if the run cannot be loaded.
    """
    from attncli.interpret import analyze_attention, load_finished_run
    from attncli.report.attention_figures import draw_attention_figures as draw
    from attncli.run import format_run_title

    loaded_run = load_finished_run(folder, dataset, device)
    baseline_run, baseline_problem = _load_baseline(loaded_run)
    analysis = analyze_attention(loaded_run, baseline_run, images=images, sample=sample)
    image_summaries = [
        {
            "index": image.index,
            "truth": image.truth,
            "predicted": image.predicted,
            "probability": image.probability,
            "plain_predicted": image.plain_predicted,
            "plain_probability": image.plain_probability,
            "file": str(output_folder / f"look-{image.index}.png"),
        }
        for image in analysis.images
    ]
    summary = {
        "run": format_run_title(loaded_run.recipe),
        "digest": folder.name,
        "baseline": baseline_run.folder.name if baseline_run else None,
        "baseline_problem": baseline_problem,
        "sample": analysis.sample,
        "images": image_summaries,
        "sites": [distribution.to_json_dict() for distribution in analysis.distributions],
    }
    return draw(analysis, output_folder, format_run_title(loaded_run.recipe)), summary


def _load_baseline(loaded_run: "LoadedRun") -> tuple["LoadedRun | None", str | None]:
    """Return the plain network of a run, and why a finished one cannot be loaded; None for what there is not."""
    from attncli.interpret import load_baseline_run

    try:
        return load_baseline_run(loaded_run), None
    except UserError as error:
        return None, join_hints(error.problem, error.hint)


def draw_records(folder: Path, classes: Sequence[str], title: str = "") -> list[Path]:
    """Draw the records in a run's folder. Return the files. `classes` are the names in the order of the labels."""
    run_records = records.read(folder)
    files = []
    if sum(isinstance(record, Epoch) for record in run_records) > 1:
        from attncli.report import figures  # loads matplotlib

        figures.draw_curves(run_records, folder / "curves.png", title)
        files.append(folder / "curves.png")
    tests = [r for r in run_records if isinstance(r, Evaluation) and r.split == "test"]
    if tests:
        evaluation_pictures.draw_confusion(tests[-1], classes, folder / "confusion.png", title)
        evaluation_pictures.draw_class_accuracy(tests[-1], classes, folder / "classes.png", title)
        files += [folder / "confusion.png", folder / "classes.png"]
    return files
