"""`attncli predict`: classify image files with a run's network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._completion import complete_runs
from attncli.commands._device_option import device_option
from attncli.commands._output import echo_json, echo_note, json_option
from attncli.commands._result_stream import echo_result, reserve_stdout
from attncli.commands._run_options import locate_run, runs_option
from attncli.errors import CollectedError, RunFailedError, UserError
from attncli.quantities import format_quantity

if TYPE_CHECKING:
    from attncli.trained.predict import Prediction

MOST_DRAWN = 256  # images of a contact sheet, which has a panel for each


@click.command()
@click.argument("run", shell_complete=complete_runs)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, metavar="K", help="Classes per image.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Draw a contact sheet of at most {MOST_DRAWN} images into this PNG.",
)
@device_option
@runs_option
@json_option
def command(run: str, images: tuple[Path, ...], top: int, sheet: Path | None, runs: Path, as_json: bool) -> None:
    """Classify IMAGES (files, or folders of them) with the network of the finished RUN; print CSV.

    The images are cropped and resized as the run's test images were. Files that cannot be read are left out and named
    at the end, with exit code 1.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli predict eca-resnet18-s0 pictures/ > predictions.csv
      attncli predict eca-resnet18-s0 cat.jpg dog.jpg --sheet sheet.png
    """
    from attncli.train import choose_device
    from attncli.train.errors import translated_inference_errors
    from attncli.trained import load_trained_network
    from attncli.trained.predict import list_image_files, predict_files

    click.get_current_context().with_resource(reserve_stdout())
    if sheet is not None:
        from attncli.report.style import choose_figure_format

        choose_figure_format(sheet)  # an error, if it is none, before the work is done
    files, device = list_image_files(images), choose_device()
    trained = load_trained_network(locate_run(runs, run))
    unreadable: list[UserError] = []
    with translated_inference_errors():
        predictions = predict_files(trained, files, top, device, unreadable.append)
    if not predictions:
        raise CollectedError(unreadable)
    _print_predictions(predictions, as_json)
    for error in unreadable:
        echo_note(error.problem)
    if sheet is not None:
        _draw_sheet(predictions, trained.name, sheet)
    if unreadable:
        raise RunFailedError(f"{len(unreadable)} of {format_quantity(len(files), 'file')} left out, see above")


def _draw_sheet(predictions: "Sequence[Prediction]", title: str, sheet: Path) -> None:
    """Draw the first images, each with its likeliest class, and say on stderr where they are."""
    from attncli.report.contact_sheet import draw_contact_sheet, read_thumbnail

    drawn = predictions[:MOST_DRAWN]
    labels = [f"{p.file.name}: {p.classes[0]} {100 * p.probabilities[0]:.0f} %" for p in drawn]
    draw_contact_sheet([read_thumbnail(p.file) for p in drawn], labels, title, sheet)
    part = f" (the first {len(drawn)} of {len(predictions)} images)" if len(drawn) < len(predictions) else ""
    echo_note(f"sheet: {sheet}{part}")


def _print_predictions(predictions: "Sequence[Prediction]", as_json: bool) -> None:
    """Print one row per file: as CSV with numbered columns from the second class on, or as JSON."""
    from attncli.report.table import render_csv

    if as_json:
        return echo_json(
            [
                {"file": str(p.file), "classes": list(p.classes), "probabilities": list(p.probabilities)}
                for p in predictions
            ]
        )
    rows = [
        {"file": str(p.file), "class": p.classes[0], "probability": p.probabilities[0]}
        | {f"class{i}": name for i, name in enumerate(p.classes[1:], 2)}
        | {f"probability{i}": value for i, value in enumerate(p.probabilities[1:], 2)}
        for p in predictions
    ]
    return echo_result(render_csv(rows), newline=False)
