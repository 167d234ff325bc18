"""The recipe that a command works on: the options that describe it, and the Recipe that they make."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import (
    complete_backbones,
    complete_datasets,
    complete_mechanisms,
    complete_recipe_keys,
    complete_recipes,
)
from attncli.commands._key_conflicts import refuse_key_conflicts
from attncli.commands._option_groups import F, apply_options
from attncli.commands._output import echo_note
from attncli.commands._value_types import IMAGE_SIZE, NAMES, SEED
from attncli.errors import UserError
from attncli.shortcuts import SHORTCUT_KEYS
from attncli.system.files import path_exists

if TYPE_CHECKING:
    from attncli.recipe import Data, Recipe

data_root_option = click.option(
    "--data-root", metavar="DIR", help="Folder that holds the dataset's files, or gets them."
)
image_size_option = click.option(
    "--image-size", type=IMAGE_SIZE, metavar="PX", help="Side of the images in pixels, or HEIGHTxWIDTH."
)
epochs_option = click.option("--epochs", type=int, metavar="N", help="Passes over the training images.")
classes_option = click.option(  # of a network that sees no dataset
    "--classes", metavar="N", type=click.IntRange(1), help="Classes  [default: 1000 from 64 px, else 10]"
)
_FILE = click.argument(
    "recipe", nargs=-1, metavar="[RECIPE]", type=click.Path(path_type=Path), shell_complete=complete_recipes
)
_BACKBONE = click.option(
    "--backbone",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Backbone, for example resnet18, or your own network: net.py:Net.",
)
_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_recipe_keys,
    help="Set any key; may be repeated, the last one wins.",
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
    data_root_option,
    image_size_option,
    epochs_option,
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
    image_size_option,
    _SET,
)


def recipe_options(command: F) -> F:
    """Add a recipe file, its short-cuts and `--set`; `read_recipe` makes a Recipe of what click passes on."""
    return apply_options(_RECIPE, command)


def network_options(command: F) -> F:
    """Add those of `recipe_options` that describe networks, with several mechanisms; read them one by one."""
    return apply_options(_NETWORKS, command)


def read_recipe(
    options: dict[str, Any], extra_values: Mapping[str, Any] | None = None, runs: Path | None = None
) -> "Recipe":
    """Return the checked Recipe of a command's options.

    Args:
        options: what click passes on; the keys of `recipe_options` are removed from it.
        extra_values: values by dotted key that no option sets; `--set` may.
        runs: the folder of runs in which model.pretrained=RUN is looked up.

    Raises:
        UserError: an option and `--set` give a key different values.
        CollectedError: everything that is wrong with the recipe, at once.
    """
    from attncli import validation

    path, overrides = find_recipe(options.pop("recipe")), options.pop("overrides")
    values = {SHORTCUT_KEYS[k]: options.pop(k) for k in SHORTCUT_KEYS if k in options}
    refuse_key_conflicts(values, overrides)
    overrides = overrides if runs is None else resolve_run_weights(overrides, runs)
    values |= extra_values or {}
    recipe = validation.read(path, overrides, {k: v for k, v in values.items() if v is not None})
    if values.get("data.root") is not None:
        refuse_unused_root([recipe.data])
    return recipe


def refuse_unused_root(sections: "Sequence[Data]") -> None:
    """Raise UserError if none of the datasets reads a folder: `--data-root DIR` alone would train on the digits."""
    from attncli.data.registry import find_base
    from attncli.dataset_catalog import has_origin

    if all(has_origin(find_base(data), "embedded") for data in sections):
        problem = f"--data-root: the images of '{sections[0].name}' come with attncli, and no folder is read"
        raise UserError(problem, "--dataset folder reads a folder of your own images: --dataset folder --data-root DIR")


def resolve_run_weights(overrides: Iterable[str], runs: Path) -> list[str]:
    """Return texts `key=value`, with the folder of the run in place of its name in model.pretrained=RUN.

    Raises UserError for a name that neither a file nor a run has.
    """
    from attncli.runs import resolve_pretrained_runs

    return resolve_pretrained_runs(overrides, runs, echo_note)


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
    """Return the file of a recipe or sweep of this name. Raises UserError if there is none, or nothing in it."""
    from attncli.recipe.library import find_recipe_file, list_recipe_files

    refuse_misplaced_words((word,))
    path = find_recipe_file(word, "sweep" if str(word) in list_recipe_files("sweep") else "recipe")
    if not path.is_file():
        raise UserError(f"{path}: no such file", "`attncli recipe ls` lists recipes")
    if not path.read_bytes().strip():
        raise UserError(f"{path}: the file is empty", "`attncli recipe show quickstart` prints what a recipe may have")
    return path
