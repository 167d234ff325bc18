"""Options that several commands share."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from attncli.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.argument("recipe", nargs=-1, metavar="[RECIPE]", type=click.Path(path_type=Path))
_BACKBONE = click.option("--backbone", metavar="NAME", help="Backbone, for example resnet18.")
_SIZE = click.option("--image-size", type=int, metavar="PX", help="Side of the images in pixels.")
_SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any key; may be repeated.")
_RECIPE = (
    _FILE,
    click.option("--attn", metavar="NAME|FILE", help="Attention mechanism, or a .py file that holds one."),
    _BACKBONE,
    click.option(
        "--pretrained", is_flag=True, default=None, help="Start from published weights; a file's: model.pretrained."
    ),
    click.option("--dataset", metavar="NAME", help="Dataset; `digits` needs no download."),
    click.option("--data-root", metavar="DIR", help="Folder that holds, or gets, the dataset's files."),
    _SIZE,
    click.option("--epochs", type=int, metavar="N", help="Passes over the training images."),
    click.option("--seed", type=int, metavar="N", help="Seed; runs of one seed share weights, order and crops."),
    _SET,
)
_NETWORKS = (
    _FILE,
    click.option(
        "--attn",
        metavar="NAMES",
        help="Mechanisms or .py files, with commas, or `all`  [default: the recipe's, else all]",
    ),
    _BACKBONE,
    _SIZE,
    _SET,
)
OPTION_KEYS = {
    "attn": "model.attn",
    "backbone": "model.backbone",
    "pretrained": "model.pretrained",
    "dataset": "data.name",
    "data_root": "data.root",
    "image_size": "data.image_size",
    "epochs": "train.epochs",
    "seed": "seed",
}


def recipe_options(command: F) -> F:
    """A recipe file, its short-cuts and `--set`; turn what click gives into a Recipe with `read_recipe`."""
    return _apply_options(_RECIPE, command)


def network_options(command: F) -> F:
    """Of `recipe_options` those that decide about networks, and several mechanisms; read them one by one."""
    return _apply_options(_NETWORKS, command)


def _apply_options(options: Sequence[Callable[[F], F]], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def store_options(command: F) -> F:
    """Where runs and their MLflow store are."""
    command = click.option(
        "--tracking-uri", metavar="URI", help="MLflow store; default $MLFLOW_TRACKING_URI, else RUNS/mlflow.db."
    )(command)
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        envvar="ATTNCLI_RUNS",
        show_default=True,
        help="Folder of the runs.",
    )(command)


def json_option(command: F) -> F:
    """Machine-readable output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else there.")(command)


def read_recipe(options: dict[str, Any], extra_values: Mapping[str, Any] | None = None) -> Any:
    """The checked Recipe of a command's options; takes the keys of `recipe_options` out of `options`.

    `extra_values` are values by dotted key that the options do not name.

    Raises CollectedError for everything that is wrong with it, at once.
    """
    from attncli import validation

    path, overrides = find_recipe(options.pop("recipe")), options.pop("overrides")
    values = {OPTION_KEYS[k]: options.pop(k) for k in OPTION_KEYS if k in options} | dict(extra_values or {})
    return validation.read(path, overrides, {k: v for k, v in values.items() if v is not None})


def find_recipe(paths: Sequence[Path]) -> Path | None:
    """The recipe by path, or by its bare name in the folder recipes/; None where none is named.

    Raises UserError for more than one.
    """
    if len(paths) > 1:
        raise UserError(f"{len(paths)} recipes: {', '.join(map(str, paths))}", "name one; --set KEY=VALUE changes it")
    path = paths[0] if paths else None
    if path is not None and not path.exists() and not path.suffix and path.parent == Path():
        for folder in (Path("recipes"), Path("recipes/sweeps")):
            if (folder / f"{path}.yaml").exists():
                return folder / f"{path}.yaml"
    return path


def echo_json(value: Any) -> None:
    """Print a value as JSON on stdout; NaN and infinities, which JSON lacks, as null."""
    click.echo(json.dumps(_replace_non_finite(value), indent=2, default=str))


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _replace_non_finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value


def wrap_with_label(label: str, text: str) -> str:
    """A text after its label, in lines that fit the terminal, later ones indented."""
    columns = shutil.get_terminal_size().columns
    return click.wrap_text(text, columns, initial_indent=label, subsequent_indent=" " * len(label))
