"""Folders of runs: the recipe in each, and a folder found by name, digest or path."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from attncli import recipe as recipes
from attncli.errors import UserError, unknown_name_error
from attncli.recipe import Recipe, parse_yaml
from attncli.system.files import path_exists, write_atomically
from attncli.track import RunStore, read_finished_result
from attncli.track.run_names import distinguish_names
from attncli.track.store_errors import redact_address
from attncli.track.tags import format_run_name

RECIPE = "recipe.yaml"
DEFAULT_RUNS = "runs"  # the folder of runs, in the current folder


def locate_usual_runs() -> Path:
    """Return the folder of runs of a command without --runs: that of ATTNCLI_RUNS, else `runs`."""
    return Path(os.environ.get("ATTNCLI_RUNS") or DEFAULT_RUNS).expanduser()


def list_store_options(run_store: RunStore) -> list[str]:
    """Return the words with which a command names this folder of runs and its MLflow store: none for the usual ones.

    The usual folder is that of ATTNCLI_RUNS, else `runs`. A password in the address of the store is left out.
    """
    words = [] if run_store.runs == locate_usual_runs() else ["--runs", str(run_store.runs)]
    return [*words, *(["--tracking-uri", redact_address(uri)] if (uri := run_store.tracking_uri) else [])]


def read_folder_recipe(folder: Path) -> Recipe:
    """Return the recipe in a run's folder. Raises OSError, ValueError, YAMLError or UserError if it is none."""
    return Recipe.model_validate(parse_yaml((folder / RECIPE).read_text(encoding="utf-8")))


def restore_recipe(folder: Path, recipe: Recipe) -> None:
    """Write the recipe of a finished run again if its file is damaged, so that the run is read as finished."""
    try:
        is_whole = read_folder_recipe(folder).compute_digest() == recipe.compute_digest()
    except (OSError, ValueError, yaml.YAMLError, UserError):
        is_whole = False
    if not is_whole:
        with suppress(OSError):  # of a folder that is only read
            write_atomically(folder / RECIPE, recipe.to_yaml())


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, runs/<digest>, and the run's name, such as eca-resnet18-s0.

    `full_name` tells it from other runs of that name in the same folder of runs, as in eca-resnet18-s0[lr=0.3].
    """

    path: Path
    name: str
    full_name: str


def list_run_folders(runs: Path, most: int | None = None) -> list[RunFolder]:
    """Return the run folders of a folder of runs, the latest first, at most so many of them.

    Those without a readable recipe are skipped.
    """
    readable: dict[Path, Recipe] = {}
    recipe_paths = sorted(runs.glob(f"*/{RECIPE}"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in recipe_paths[:most]:
        with suppress(UserError):
            readable[path.parent] = recipes.read(path)
    full_names = distinguish_names(list(readable.values()))
    return [
        RunFolder(folder, format_run_name(recipe), full_name)
        for (folder, recipe), full_name in zip(readable.items(), full_names, strict=True)
    ]


def find_run_folder(runs: Path, word: str, notify: Callable[[str], None] | None = None) -> Path:
    """Return the folder of a run, given its path, the beginning of its digest, or its name.

    If several runs have the name, finished ones go first, and of those the latest. The full name of `RunFolder` is that
    of one run.

    Args:
        runs: The folder of runs.
        word: The path, digest or name.
        notify: Called with a line about the others if several runs have the name.

    Raises:
        UserError: No run has this name, several digests begin with it, or the recipe of the run cannot be read.
    """
    if not word.strip():
        raise UserError("run: the name is empty", "`attncli ls runs` lists them")
    run_path = Path(word)
    if path_exists(run_path / RECIPE):
        return run_path
    run_folders = list_run_folders(runs)
    digest_matches = [f.path for f in run_folders if f.path.name.startswith(word)]
    if len(digest_matches) > 1:
        names = ", ".join(p.name for p in digest_matches[:5])
        raise UserError(f"run '{word}': {len(digest_matches)} digests begin with it ({names})", "give more digits")
    full_names = {f.path: f.full_name for f in run_folders}
    name_matches = [f.path for f in run_folders if word in (f.name, f.full_name)]
    finished_matches = [p for p in name_matches if read_finished_result(p) is not None]
    chosen = [*digest_matches, *finished_matches, *name_matches][:1]
    if not digest_matches and len(name_matches) > 1 and notify is not None:
        latest, *others = [f"{path.name} {full_names[path]}" for path in (*chosen, *name_matches)]
        others = list(dict.fromkeys(other for other in others if other != latest))
        notify(f"{len(name_matches)} runs have the name {word}: {latest}, the latest; also {', '.join(others)}")
    if chosen:
        return chosen[0]
    _refuse_unreadable_folder(runs, word)
    if not run_folders:
        raise UserError(f"no runs in {runs}", "`attncli run` makes one, --runs names another folder")
    raise unknown_name_error("run", word, [f.full_name for f in run_folders])


def _refuse_unreadable_folder(runs: Path, word: str) -> None:
    """Raise UserError if the digest of a run whose recipe cannot be read begins with the word."""
    for path in sorted(runs.glob(f"*/{RECIPE}")):
        if path.parent.name.startswith(word):
            try:
                recipes.read(path)
            except UserError as error:
                problem = "; ".join(single.problem for single in error.single_errors)
                raise UserError(problem, "if a newer version wrote this recipe, update attncli") from error


def locate_pretrained_run(runs: Path, word: str, notify: Callable[[str], None] | None = None) -> str:
    """Return the folder of the run that a text of model.pretrained names; the path of a file as it is.

    Args:
        runs: The folder of runs.
        word: The path of a file or folder, or the name or digest of a run.
        notify: Called with a line about the others if several runs have the name.

    Raises:
        UserError: It is no path, and no run has this name.
    """
    if path_exists(Path(word)):
        return word
    try:
        return str(find_run_folder(runs, word, notify))
    except UserError:
        if "/" in word or Path(word).suffix:
            return word
        raise


def resolve_pretrained_runs(
    overrides: Iterable[str], runs: Path, notify: Callable[[str], None] | None = None
) -> list[str]:
    """Return texts `key=value`, with the folder of the run in place of its name in model.pretrained=RUN.

    Args:
        overrides: The texts.
        runs: The folder of runs.
        notify: Called with a line about the others if several runs have the name.

    Raises:
        UserError: Neither a file nor a run has the name.
    """
    return [_resolve_pretrained_run(item, runs, notify) for item in overrides]


def _resolve_pretrained_run(item: str, runs: Path, notify: Callable[[str], None] | None) -> str:
    key, _, word = item.partition("=")
    if key.strip() != "model.pretrained" or word.lower() in ("true", "false", "null", ""):
        return item
    return f"{key}={locate_pretrained_run(runs, word, notify)}"
