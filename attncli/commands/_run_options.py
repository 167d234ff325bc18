"""The runs that a command works on: the options that say where they are, and what reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from attncli.commands._completion import complete_datasets, complete_shipped_results
from attncli.commands._option_groups import F, apply_options
from attncli.commands._output import echo_note
from attncli.commands._printed_commands import remember_store_option
from attncli.errors import UserError, quote_word, suggest_name
from attncli.system.files import expand_user_path

if TYPE_CHECKING:
    from attncli.runs import FailedRun, FinishedRun


def make_runs_option(help_text: str, *, may_be_new: bool = False) -> Callable[[F], F]:
    """Return the option that says where runs are.

    Args:
        help_text: what the folder is to the command.
        may_be_new: whether the command makes a folder that is not there; the others refuse one that the user typed.
    """
    return click.option(
        "--runs",
        type=click.Path(file_okay=False),  # a text, as Path makes the current folder of an empty one
        callback=_expand_runs_path if may_be_new else _check_runs_path,
        default="runs",
        envvar="ATTNCLI_RUNS",
        show_default=True,
        help=help_text,
    )


def _expand_runs_path(context: click.Context, parameter: click.Parameter, runs: str) -> Path:
    """Return the folder of runs, ~ expanded. Raises UserError for a path that no folder can have."""
    if context.resilient_parsing:
        return Path(runs)
    folder = expand_user_path(runs, "--runs")
    remember_store_option(context, "runs", folder)
    return folder


def _check_runs_path(context: click.Context, parameter: click.Parameter, runs: str) -> Path:
    """Return the folder of runs, ~ expanded; it may be missing if the user did not type it, as before the first run.

    Raises UserError for a typed folder that is not there, with the most similar one beside it.
    """
    folder = _expand_runs_path(context, parameter, runs)
    is_typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if context.resilient_parsing or not is_typed or folder.is_dir():
        return folder
    siblings = [path for path in folder.parent.glob("*/") if not path.name.startswith(".")]
    suggestion = suggest_name(folder.name, (), {path.name: f"--runs {quote_word(path)}" for path in siblings})
    raise UserError(f"--runs {folder}: no such folder", suggestion or "`attncli run` makes it; this command only reads")


def _keep_tracking_uri(context: click.Context, parameter: click.Parameter, uri: str | None) -> str | None:
    """Return the address of the MLflow store as it was typed."""
    remember_store_option(context, "tracking_uri", uri)
    return uri


runs_option = make_runs_option("Folder of the runs.")
new_runs_option = make_runs_option("Folder of the runs.", may_be_new=True)
_TRACKING = click.option(
    "--tracking-uri",
    metavar="URI",
    callback=_keep_tracking_uri,
    help="MLflow store  [default: $MLFLOW_TRACKING_URI, else RUNS/mlflow.db]",
)
_RESULTS_OF_OTHERS = (
    click.option(
        "--with",
        "with_files",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Results of others too, from `attncli results export`; paired by their recipe.",
    ),
    click.option(
        "--shipped",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_shipped_results,
        help="Results that attncli brings, from `attncli results ls`.",
    ),
)
alone_option = click.option(
    "--alone",
    is_flag=True,
    help="Only the results of --with and --shipped, without your own runs.",
)
folder_is_option = click.option(
    "--folder-is",
    metavar="NAME",
    shell_complete=complete_datasets,
    help="The dataset whose images the runs on `folder` used.",
)
planned_seeds_option = click.option(
    "--planned-seeds",
    type=click.IntRange(2),
    metavar="N",
    help="Seeds planned before the first run, for runs that no sweep planned.",
)


def store_options(command: F) -> F:
    """Add the options that say where runs and their MLflow store are, to a command that reads them."""
    return apply_options((runs_option, _TRACKING), command)


def new_store_options(command: F) -> F:
    """Add the options that say where runs and their MLflow store are or will be, to a command that makes them."""
    return apply_options((new_runs_option, _TRACKING), command)


def results_of_others_options(command: F) -> F:
    """Add `--with FILE` and `--shipped NAME`, the results of others; `open_results_of_others` reads them."""
    return apply_options(_RESULTS_OF_OTHERS, command)


def open_results_of_others(
    with_files: Sequence[Path], shipped: Sequence[str]
) -> "tuple[list[FinishedRun], list[FailedRun]]":
    """Return the finished and the failed runs of files and of shipped results; folders last until the command ends.

    Of runs that this version cannot read, a line on stderr says how many there are, and why.

    Raises UserError for a file that is none of results, or an unknown name.
    """
    from attncli.recipe.library import find_shipped_results
    from attncli.result_files import imported_results, read_failures_of_results

    files = [*with_files, *map(find_shipped_results, shipped)]
    finished_runs = click.get_current_context().with_resource(imported_results(files, echo_note))
    return finished_runs, read_failures_of_results(files, echo_note)


def choose_output_folder(runs: Path) -> Path:
    """Return the folder for what is drawn or written of many runs: that of the runs, or the current one without it.

    A command that only reads runs makes no folder of them.
    """
    return runs if runs.is_dir() else Path()


def refuse_alone_without_results(alone: bool, with_files: Sequence[Path], shipped: Sequence[str]) -> None:
    """Raise UserError for `--alone` without results of others, which leaves nothing."""
    if alone and not with_files and not shipped:
        raise UserError("--alone: no results are named", "--shipped NAME or --with FILE names some")


def warn_of_unreadable_runs(error: UserError) -> None:
    """Say on stderr how many finished runs cannot be read, why, and what to do."""
    echo_note(f"{error.problem}; {error.hint}")


def read_folder_runs_and_warn(runs: Path) -> "list[FinishedRun]":
    """Return the finished runs of a folder of runs, and say on stderr how many others cannot be read."""
    from attncli.runs import find_unreadable_runs, read_folder_runs

    finished_runs = list(read_folder_runs(runs))
    for error in find_unreadable_runs(runs, finished_runs):
        warn_of_unreadable_runs(error)
    return finished_runs


def locate_run(runs: Path, word: str) -> Path:
    """Return the folder of a run by its name, digest or path; say on stderr if several runs have the name."""
    from attncli.runs import find_run_folder

    return find_run_folder(runs, word, echo_note)
