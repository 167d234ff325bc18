"""Options and output that several commands share."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from attncli.commands._completion import (
    complete_backbones,
    complete_datasets,
    complete_mechanisms,
    complete_recipe_keys,
    complete_recipes,
    complete_shipped_results,
)
from attncli.commands._result_stream import echo_result, reserve_stdout
from attncli.commands._value_types import IMAGE_SIZE, NAMES, SEED
from attncli.errors import UserError
from attncli.shortcuts import SHORTCUT_KEYS
from attncli.system.files import expand_user_path, path_exists
from attncli.system.gpu_support import DEVICE_VARIABLE, check_device_name

if TYPE_CHECKING:
    from attncli.recipe import Recipe
    from attncli.runs import FinishedRun

F = TypeVar("F", bound=Callable[..., Any])


JOBS_HELP = "Runs at a time; auto: several if one leaves a GPU or cores idle  [default: one per GPU, else 1]"

_FILE = click.argument(
    "recipe", nargs=-1, metavar="[RECIPE]", type=click.Path(path_type=Path), shell_complete=complete_recipes
)
_BACKBONE = click.option(
    "--backbone",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Backbone, for example resnet18, or your own network: net.py:Net.",
)
_SIZE = click.option(
    "--image-size", type=IMAGE_SIZE, metavar="PX", help="Side of the images in pixels, or HEIGHTxWIDTH."
)
_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_recipe_keys,
    help="Set any key; may be repeated.",
)
_RECIPE = (
    _FILE,
    click.option(
        "--attn",
        metavar="NAME|FILE",
        shell_complete=complete_mechanisms,
        help="Attention mechanism, several (se+simam), or your own: mine.py, mine.py:CLASS.",
    ),
    _BACKBONE,
    click.option(
        "--pretrained",
        is_flag=True,
        default=None,
        help="Start from published weights; from a file: --set model.pretrained=FILE.",
    ),
    click.option(
        "--dataset", metavar="NAME", shell_complete=complete_datasets, help="Dataset; `digits` needs no download."
    ),
    click.option("--data-root", metavar="DIR", help="Folder that holds the dataset's files, or gets them."),
    _SIZE,
    click.option("--epochs", type=int, metavar="N", help="Passes over the training images."),
    click.option("--seed", type=SEED, metavar="N", help="Seed; runs with one seed share weights, order and crops."),
    _SET,
)
_NETWORKS = (
    _FILE,
    click.option(
        "--attn",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_mechanisms,
        help="Mechanisms, se+simam or mine.py:CLASS, separated by commas, or `all`  [default: the recipe's, else all]",
    ),
    _BACKBONE,
    _SIZE,
    _SET,
)


def recipe_options(command: F) -> F:
    """Add a recipe file, its short-cuts and `--set`; `read_recipe` makes a Recipe of what click passes on."""
    return apply_options(_RECIPE, command)


def network_options(command: F) -> F:
    """Add those of `recipe_options` that describe networks, with several mechanisms; read them one by one."""
    return apply_options(_NETWORKS, command)


def apply_options(options: Sequence[Callable[[F], F]], command: F) -> F:
    """Add options to a command, in their order in its help."""
    for option in reversed(options):
        command = option(command)
    return command


def store_options(command: F) -> F:
    """Add the options that say where runs and their MLflow store are."""
    command = click.option(
        "--tracking-uri", metavar="URI", help="MLflow store  [default: $MLFLOW_TRACKING_URI, else RUNS/mlflow.db]"
    )(command)
    return runs_option(command)


def with_option(command: F) -> F:
    """Add `--with FILE` and `--shipped NAME`, the results of others; `open_results_of_others` reads them."""
    command = click.option(
        "--shipped",
        multiple=True,
        metavar="NAME",
        shell_complete=complete_shipped_results,
        help="Results that attncli brings, from `attncli results ls`.",
    )(command)
    return click.option(
        "--with",
        "with_files",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Results of others too, from `attncli results export`; paired by their recipe.",
    )(command)


def open_results_of_others(with_files: Sequence[Path], shipped: Sequence[str]) -> "list[FinishedRun]":
    """Return the runs of files and of shipped results; their folders last until the command ends.

    Of runs that this version cannot read, a line on stderr says how many there are, and why.

    Raises UserError for a file that is none of results, or an unknown name.
    """
    from attncli.recipe.library import find_shipped_results
    from attncli.result_files import imported_results

    files = [*with_files, *map(find_shipped_results, shipped)]
    return click.get_current_context().with_resource(imported_results(files, lambda line: click.echo(line, err=True)))


def warn_of_unreadable_runs(error: UserError) -> None:
    """Say on stderr how many finished runs cannot be read, why, and what to do."""
    click.echo(f"{error.problem}; {error.hint}", err=True)


def read_folder_runs_and_warn(runs: Path) -> "list[FinishedRun]":
    """Return the finished runs of a folder of runs, and say on stderr how many others cannot be read."""
    from attncli.runs import find_unreadable_runs, read_folder_runs

    finished_runs = list(read_folder_runs(runs))
    for error in find_unreadable_runs(runs, finished_runs):
        warn_of_unreadable_runs(error)
    return finished_runs


def runs_option(command: F) -> F:
    """Add the option that says where runs are."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        callback=check_runs_path,
        default=Path("runs"),
        envvar="ATTNCLI_RUNS",
        show_default=True,
        help="Folder of the runs.",
    )(command)


def make_device_option(default: str) -> Callable[[F], F]:
    """Return the option `--device`; what it asks for holds for the command and the processes that it starts.

    `default` says in the help what the command does without it.
    """

    def remember(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        if name is None:
            return
        before = os.environ.get(DEVICE_VARIABLE)
        os.environ[DEVICE_VARIABLE] = check_device_name(name)
        ctx.call_on_close(lambda: _restore_variable(DEVICE_VARIABLE, before))

    return click.option(
        "--device",
        metavar="NAME",
        expose_value=False,
        callback=remember,
        help=f"cpu, cuda, cuda:1 or mps  [default: {default}]",
    )


device_option = make_device_option("the GPU that torch finds, else cpu")


def _restore_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def check_runs_path(context: click.Context, parameter: click.Parameter, runs: Path) -> Path:
    """Return the folder of runs, ~ expanded. Raises UserError for a path that no folder can have."""
    return runs if context.resilient_parsing else expand_user_path(str(runs), "--runs")


def json_option(command: F) -> F:
    """Add `--json`, machine-readable output."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=reserve_stdout_for_data,
        help="Print JSON on stdout and nothing else there.",
    )(command)


def reserve_stdout_for_data(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep stdout for the result, until the command ends, if an option asks for one that other programs read."""
    if value not in (False, None, "table") and not context.resilient_parsing:
        context.with_resource(reserve_stdout())
    return value


def format_option(*formats: str) -> Callable[[F], F]:
    """Return the option `--format` with these values, `table` by default; the others are for other programs."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(formats),
        default="table",
        show_default=True,
        callback=reserve_stdout_for_data,
    )


def classes_option(command: F) -> F:
    """Add `--classes`, the number of classes of a network that sees no dataset."""
    return click.option(
        "--classes", metavar="N", type=click.IntRange(1), help="Classes  [default: 1000 from 64 px, else 10]"
    )(command)


def read_recipe(
    options: dict[str, Any], extra_values: Mapping[str, Any] | None = None, runs: Path | None = None
) -> "Recipe":
    """Return the checked Recipe of a command's options.

    Args:
        options: what click passes on; the keys of `recipe_options` are removed from it.
        extra_values: values by dotted key that no option sets.
        runs: the folder of runs in which model.pretrained=RUN is looked up.

    Raises:
        CollectedError: everything that is wrong with the recipe, at once.
    """
    from attncli import validation

    path, overrides = find_recipe(options.pop("recipe")), options.pop("overrides")
    overrides = [_resolve_run_weights(item, runs) if runs is not None else item for item in overrides]
    values = {SHORTCUT_KEYS[k]: options.pop(k) for k in SHORTCUT_KEYS if k in options} | dict(extra_values or {})
    return validation.read(path, overrides, {k: v for k, v in values.items() if v is not None})


def _resolve_run_weights(item: str, runs: Path) -> str:
    """Return a `key=value` with the folder of the run in place of its name, if it is model.pretrained=RUN."""
    from attncli.runs import locate_pretrained_run

    key, _, word = item.partition("=")
    if key.strip() != "model.pretrained" or word.lower() in ("true", "false", "null", ""):
        return item
    return f"{key}={locate_pretrained_run(runs, word, lambda line: click.echo(line, err=True))}"


def locate_run(runs: Path, word: str) -> Path:
    """Return the folder of a run by its name, digest or path; say on stderr if several runs have the name."""
    from attncli.runs import find_run_folder

    return find_run_folder(runs, word, lambda line: click.echo(line, err=True))


def find_recipe(paths: Sequence[Path]) -> Path | None:
    """Return the file of the recipe, which may be a path or a bare name; None if none is given.

    Raises UserError if more than one is given, or no recipe has the name.
    """
    refuse_misplaced_words(paths)
    if len(paths) > 1:
        raise UserError(f"{len(paths)} recipes: {', '.join(map(str, paths))}", "give one; --set KEY=VALUE changes it")
    from attncli.recipe.library import find_recipe_file

    return find_recipe_file(paths[0]) if paths else None


def refuse_misplaced_words(words: Sequence[Path]) -> None:
    """Raise UserError for a word in place of a recipe that belongs after an option: `lr=0.1`, `eca`, `net.py:Net`."""
    from attncli.commands._words import suggest_option_of_name
    from attncli.recipe import find_recipe_key, list_recipe_files

    for word in map(str, words):
        name, equals, value = word.partition("=")
        if equals and not path_exists(Path(word)):
            raise UserError(
                f"{word}: not a recipe", f"keys follow --set: --set {find_recipe_key(name) or name}={value}"
            )
        if word in list_recipe_files("recipe") or word in list_recipe_files("sweep"):
            continue
        if suggestion := suggest_option_of_name(word, click.get_current_context().command):
            raise UserError(f"{word}: not a recipe", suggestion)


def find_any_recipe(word: Path) -> Path:
    """Return the file of a recipe or sweep of this name. Raises UserError if there is none."""
    from attncli.recipe.library import find_recipe_file, list_recipe_files

    refuse_misplaced_words((word,))
    path = find_recipe_file(word, "sweep" if str(word) in list_recipe_files("sweep") else "recipe")
    if not path.is_file():
        raise UserError(f"{path}: no such file", "`attncli recipe ls` lists recipes")
    return path


def echo_json(value: Any) -> None:
    """Print a value as JSON on stdout; NaN and infinities, which JSON lacks, as null."""
    from attncli.report.json_text import format_json

    echo_result(format_json(value))


def overwrite_line(text: str) -> None:
    """Print a line on stderr that the next one overwrites; only on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=False)


def wrap_with_label(label: str, text: str) -> str:
    """Return a text after its label, in lines that fit the terminal, later lines indented."""
    columns = shutil.get_terminal_size().columns
    lines = textwrap.wrap(
        text, columns, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False
    )
    return "\n".join(lines)
