"""`attncli eval`: evaluate runs on other images: a split, dataset, crop or corruption."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import complete_datasets, complete_runs
from attncli.commands._device_option import device_option
from attncli.commands._key_conflicts import refuse_key_conflicts
from attncli.commands._output import echo_json, echo_note, format_option, json_option
from attncli.commands._recipe_options import refuse_unused_root
from attncli.commands._result_stream import echo_result
from attncli.commands._run_options import (
    locate_run,
    read_folder_runs_and_warn,
    runs_option,
    warn_of_unreadable_runs,
)
from attncli.commands._value_types import NAMES
from attncli.errors import UserError, unknown_name_error
from attncli.system.terminal import find_text_width

if TYPE_CHECKING:
    from attncli.recipe import Recipe
    from attncli.records import Evaluation
    from attncli.runs import FinishedRun
    from attncli.track.predictions import ImagePredictions
    from attncli.trained.evaluate import EvaluationRequest

ALL = "all"
FIGURES = ("top1", "top5", "loss")


@click.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True)
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Dataset instead of the run's.")
@click.option("--data-root", metavar="DIR", help="Folder that holds the dataset's files.")
@click.option("--corruption", type=NAMES, metavar="NAMES", help="Corruptions (fog, jpeg, ...), or `all` fifteen.")
@click.option("--severity", type=NAMES, metavar="NUMBERS", help="Of the corruptions: 1,2,5 or `all`  [default: 1]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A key of data, such as data.centre=1.")
@format_option("table", "csv", "markdown", "latex")
@runs_option
@device_option
@json_option
def command(
    names: tuple[str, ...],
    split: str,
    dataset: str | None,
    data_root: str | None,
    corruption: list[str] | None,
    severity: list[str] | None,
    overrides: tuple[str, ...],
    format_: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Evaluate each finished RUN, or `all` of them, on other images than its test set.

    Corruptions are those of CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C, by the size of the images, computed on the fly:
    the same pixels for every run. Of several severities the means follow, those of each corruption and that of all.
    Classes are matched by name. Several runs are compared as `attncli compare` does, paired seed by seed, by the mean
    over corruptions and severities; with --format markdown or latex that is all. p values are corrected for the
    mechanisms that are evaluated. CSV and JSON have each run on each corruption.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli eval eca-resnet18-s0 --corruption all --severity 3
      attncli eval eca-resnet18-s0 none-resnet18-s0 --corruption fog,jpeg
      attncli eval all --corruption all --severity all --format latex > robust.tex
      attncli eval eca-resnet18-s0 --dataset folder --data-root ~/pictures
    """
    if severity is not None and not corruption:
        text = ",".join(severity)
        raise UserError(f"--severity {text}: no corruption is named", f"`--corruption {ALL}` takes all fifteen")
    from attncli.track.run_names import distinguish_names
    from attncli.trained.evaluate import EvaluationRequest

    request = EvaluationRequest(
        corruptions=_read_corruptions(corruption or []),
        severities=[1] if severity is None else _read_severities(severity),
        split=split,
        data_values=_read_data_values(dataset, data_root, overrides),
    )
    evaluated_runs = [_evaluate_run(folder, request) for folder in _locate_runs(runs, names)]
    for text in dict.fromkeys(text for run in evaluated_runs for text in run.remarks):
        echo_note(f"note: {text}")
    run_names = distinguish_names([run.recipe for run in evaluated_runs])
    named_runs = list(zip(run_names, evaluated_runs, strict=True))
    rows = [row for name, run in named_runs for row in _make_rows(name, run, request)]
    for name, run in named_runs:
        for evaluation, _ in run.evaluations:
            _note_nonfinite(name, evaluation)
    if as_json:
        return echo_json(rows)
    if len(evaluated_runs) == 1 or format_ in ("table", "csv"):
        _print_rows(rows, format_)
    if len(evaluated_runs) > 1 and format_ != "csv":
        _print_comparison(evaluated_runs, request, format_)
    return None


def _read_corruptions(names: Sequence[str]) -> list[str]:
    """Return the named corruptions; `all` stands for every one. Raises UserError for an unknown name."""
    from attncli.trained.corruptions import CORRUPTIONS

    if list(names) == [ALL]:
        return list(CORRUPTIONS)
    for name in names:
        if name not in CORRUPTIONS:
            raise unknown_name_error("corruption", name, (*CORRUPTIONS, ALL))
    return list(names)


def _read_severities(words: Sequence[str]) -> list[int]:
    """Return the severities from mild to severe; `all` stands for every one. Raises UserError for anything else."""
    from attncli.trained.corruption_parameters import SEVERITIES

    if list(words) == [ALL]:
        return list(SEVERITIES)
    if not words or not {*words} <= {*map(str, SEVERITIES)}:
        raise UserError(f"--severity {','.join(words)}: not from 1 to 5", f"for example 3, or 1,2,5, or {ALL}")
    return sorted({int(word) for word in words})


def _locate_runs(runs: Path, names: Sequence[str]) -> list[Path]:
    """Return the folders of the named runs, each once; of all finished ones for `all`."""
    if list(names) != [ALL]:
        return list(dict.fromkeys(locate_run(runs, name) for name in names))
    from attncli.runs import describe_unfinished_runs

    folders = [run.folder for run in read_folder_runs_and_warn(runs) if run.folder is not None]
    if not folders:
        advice = describe_unfinished_runs(runs) or "`attncli run` makes one; --runs names another folder"
        raise UserError(f"{runs}: no finished runs", advice)
    return folders


def _read_data_values(dataset: str | None, data_root: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys of the section data that the options set.

    Raises UserError for a key of another section, or if an option and `--set` give a key different values.
    """
    from attncli import validation
    from attncli.recipe import parse_override, split_section

    refuse_key_conflicts({"data.name": dataset, "data.root": data_root}, overrides)
    values: dict[str, Any] = {
        name: value for name, value in (("name", dataset), ("root", data_root)) if value is not None
    }
    settings = [(item, *setting) for item in overrides for setting in split_section(*parse_override(item)).items()]
    for item, key, value in settings:
        section, _, name = key.partition(".")
        if section != "data":
            raise UserError(f"--set {item}: not a key of data", "a finished run keeps its network; set data.KEY only")
        values[name] = value
    validation.read(values={f"data.{key}": value for key, value in values.items()})
    return values


@dataclass(frozen=True)
class EvaluatedRun:
    """A run and its results: one evaluation, with the predictions, of each corruption, or of the images as they are.

    `remarks` is what is to be said of the images, if they are another dataset or another part of each
    image. The network is not kept: those of all runs would fill the memory.
    """

    folder: Path
    recipe: "Recipe"
    evaluations: "list[tuple[Evaluation, ImagePredictions]]"
    remarks: tuple[str, ...] = ()


def _evaluate_run(folder: Path, request: "EvaluationRequest") -> EvaluatedRun:
    """Evaluate the run of a folder as requested; say on stderr if its precision is another one here."""
    from attncli.train import choose_device
    from attncli.trained import load_trained_network
    from attncli.trained.evaluate import describe_precision, evaluate_elsewhere, load_other_images

    trained = load_trained_network(folder)
    if "root" in request.data_values:
        refuse_unused_root([trained.recipe.data.model_copy(update=dict(request.data_values))])
    images = load_other_images(trained, request)
    if note := describe_precision(trained.recipe, choose_device()):
        echo_note(f"note: {trained.name}: {note}")
    remarks = (*images.notes, *images.warnings) if {"name", "centre"} & request.data_values.keys() else ()
    return EvaluatedRun(folder, trained.recipe, evaluate_elsewhere(trained, images, request), remarks)


def _make_rows(name: str, run: EvaluatedRun, request: "EvaluationRequest") -> list[dict[str, Any]]:
    """Return a row per evaluation; of several severities also the mean of each corruption, and that of all of them."""
    rows = [_make_row(name, evaluation) for evaluation, _ in run.evaluations]
    count = len(request.severities)
    if count == 1 or not request.corruptions:
        return rows
    rows_with_means: list[dict[str, Any]] = []
    for number, corruption in enumerate(request.corruptions):
        own_rows = rows[number * count : (number + 1) * count]
        rows_with_means += [*own_rows, _average_rows(own_rows, f"{corruption}-mean")]
    return [*rows_with_means, _average_rows(rows, "mean")] if len(request.corruptions) > 1 else rows_with_means


def _average_rows(rows: Sequence[dict[str, Any]], label: str) -> dict[str, Any]:
    """Return a row with the means of the figures, all of which are of the same images."""
    figures = {key: None if rows[0][key] is None else fmean(row[key] for row in rows) for key in FIGURES}
    return rows[0] | {"on": label} | figures


def _make_row(name: str, evaluation: "Evaluation") -> dict[str, Any]:
    return {
        "run": name,
        "on": evaluation.split,
        "images": evaluation.images,
        "top1": evaluation.top1,
        "top5": evaluation.informative_top5,
        "loss": evaluation.loss,
    }


def _note_nonfinite(name: str, evaluation: "Evaluation") -> None:
    """Say on stderr how many images had no finite loss, if any."""
    from attncli.records import describe_nonfinite

    if images := evaluation.count_nonfinite():
        echo_note(f"note: {name}: {describe_nonfinite(images, 'image', evaluation.split)}")


def _print_rows(rows: list[dict[str, Any]], format_: str) -> None:
    """Print a row per run and corruption; accuracies are in percent, and in CSV shares of 1."""
    from attncli.report.table import render_rows

    if format_ != "csv":
        rows = [row | {name: _format_percent(row[name]) for name in ("top1", "top5")} for row in rows]
    echo_result(render_rows(rows, format_, find_text_width()))


def _format_percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def _print_comparison(evaluated_runs: Sequence[EvaluatedRun], request: "EvaluationRequest", format_: str) -> None:
    """Print the comparison of several runs, by the mean of their evaluations; for LaTeX as a paper's table."""
    from attncli.analysis.compare import compare_variants
    from attncli.report.comparison import render_comparison
    from attncli.report.comparison_columns import PAPER_COLUMNS, choose_columns
    from attncli.runs import read_failed_runs, read_folder_run
    from attncli.trained.evaluate import replace_test_results

    trained_runs = [(read_folder_run(evaluated.folder), evaluated) for evaluated in evaluated_runs]
    by_digest = {
        run.digest: replace_test_results(run, evaluated.evaluations)
        for run, evaluated in trained_runs
        if run is not None
    }
    places = list(dict.fromkeys(evaluated.folder.absolute().parent for evaluated in evaluated_runs))
    _note_left_out_variants([run for run, _ in trained_runs if run is not None], places)
    failures = [failed for place in places for failed in read_failed_runs(place, warn_of_unreadable_runs)]
    rows = compare_variants([by_digest[digest] for digest in sorted(by_digest)], failures=failures)
    width = find_text_width()
    if format_ == "latex":
        table = render_comparison(rows, format_, width, choose_columns(PAPER_COLUMNS, "sd"), "sd")
        return echo_result(f"% {request.describe()}\n{table}")
    return echo_result(f"{request.describe()}\n{render_comparison(rows, format_, width)}")


def _note_left_out_variants(shown: "Sequence[FinishedRun]", places: Sequence[Path]) -> None:
    """Say on stderr how many variants of the same baselines these folders of runs have that are not evaluated."""
    from attncli.analysis.variants import count_left_out_variants
    from attncli.result_files import describe_left_out
    from attncli.runs import read_folder_runs

    if count := count_left_out_variants(shown, [run for place in places for run in read_folder_runs(place)]):
        echo_note(f"note: {describe_left_out(count)}; `attncli eval {ALL}` takes all runs")
