"""Recipes, sweeps and results by name: recipes of the current folder's `recipes/` first, then what attncli brings."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attncli.errors import UserError, join_hints, unknown_name_error
from attncli.system.files import path_exists, read_user_text

RecipeKind = Literal["recipe", "sweep"]
OWN_FOLDER = Path("recipes")  # below the current folder
SUBFOLDERS: dict[RecipeKind, str] = {"recipe": "", "sweep": "sweeps"}
RESULTS_FOLDER, RESULTS_SUFFIX = "results", ".results"  # files of `attncli results export` that attncli brings
PACKAGED_FOLDER = Path(__file__).parents[1] / "shipped_recipes"  # in an installed wheel, see pyproject.toml
SOURCE_FOLDER = Path(__file__).parents[2] / "recipes"  # in a checkout


def find_shipped_folder() -> Path:
    """Return the folder of the recipes that attncli brings: in the package if it was installed, else the checkout's."""
    return PACKAGED_FOLDER if PACKAGED_FOLDER.is_dir() else SOURCE_FOLDER


def list_recipe_files(kind: RecipeKind) -> dict[str, Path]:
    """Return the file of every recipe or sweep by name, sorted; one of the current folder hides a shipped one."""
    folders = [folder / SUBFOLDERS[kind] for folder in (find_shipped_folder(), OWN_FOLDER)]
    files = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return dict(sorted(files.items()))


def find_recipe_file(word: Path, kind: RecipeKind = "recipe") -> Path:
    """Return the file that a word names: a file as it is, a name from `list_recipe_files`, else the path.

    Raises:
        UserError: no recipe or sweep has this bare name.
    """
    name, files = str(word), list_recipe_files(kind)
    if os.path.isfile(word):
        return word
    if name in files:  # before a folder, as one of images may have the name of a recipe
        return files[name]
    other: RecipeKind = "sweep" if kind == "recipe" else "recipe"
    if name in list_recipe_files(other):
        command = "sweep" if other == "sweep" else "run"
        raise UserError(f"'{name}' is a {other}, not a {kind}", f"attncli {command} {name}")
    if path_exists(word) or word.suffix or word.parent != Path():
        return word
    error = unknown_name_error(kind, name, files)
    raise UserError(error.problem, join_hints(_suggest_file(name), error.hint, "`attncli recipe ls` lists them"))


def _suggest_file(name: str) -> str:
    """Return the file of the current folder that a bare name may mean, as a hint; "" if there is none."""
    file = next((file for suffix in (".yaml", ".yml") if path_exists(file := Path(f"{name}{suffix}"))), None)
    return f"did you mean the file {file}?" if file else ""


def list_shipped_results() -> dict[str, Path]:
    """Return the files of results that attncli brings by name, sorted."""
    files = (find_shipped_folder() / RESULTS_FOLDER).glob(f"*{RESULTS_SUFFIX}")
    return {path.stem: path for path in sorted(files)}


def find_shipped_results(name: str) -> Path:
    """Return the file of results that attncli brings under this name.

    Raises:
        UserError: there are none of this name.
    """
    files = list_shipped_results()
    if name not in files:
        error = unknown_name_error("shipped results", name, files)
        advice = "`attncli results ls` lists them" if files else "attncli brings none; --with FILE takes a file"
        raise UserError(error.problem, join_hints(error.hint, advice))
    return files[name]


def read_opening(path: Path) -> str:
    """Return the first line of the comment that a recipe opens with, or nothing, or why the file cannot be read."""
    try:
        first = read_user_text(path, "").splitlines()[:1]
    except UserError as error:
        return error.problem.removeprefix(f"{path}: ")
    return first[0].lstrip("# ") if first and first[0].startswith("#") else ""


def iterate_openings() -> Iterator[tuple[RecipeKind, str, Path, str]]:
    """Yield (kind, name, file, first line) of every recipe, then of every sweep."""
    kinds: tuple[RecipeKind, ...] = ("recipe", "sweep")
    for kind in kinds:
        for name, path in list_recipe_files(kind).items():
            yield kind, name, path, read_opening(path)
