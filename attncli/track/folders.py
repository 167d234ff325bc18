"""The folders of runs by name: what `look` and shell completion find runs with, without MLflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attncli import recipe as recipes
from attncli.errors import UserError, unknown_name_error
from attncli.track.provenance import read_finished_result
from attncli.track.tags import format_run_name


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, runs/<digest>, and the run's name, such as eca-resnet18-s0."""

    path: Path
    name: str


def list_run_folders(runs: Path) -> Iterator[RunFolder]:
    """The runs of a folder of runs, the latest first; folders that hold no recipe that can be read are passed over."""
    recipe_paths = sorted(runs.glob("*/recipe.yaml"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in recipe_paths:
        try:
            yield RunFolder(path.parent, format_run_name(recipes.read(path)))
        except UserError:
            continue


def find_run_folder(runs: Path, word: str) -> Path:
    """The folder of a run by its path, the beginning of its digest, or its name.

    Where several runs have the name, finished ones go first, and of those the latest. Raises UserError where none is
    meant, or the beginning of a digest means several.
    """
    run_path = Path(word)
    if (run_path / "recipe.yaml").exists():
        return run_path
    run_folders = list(list_run_folders(runs))
    digest_matches = [f.path for f in run_folders if f.path.name.startswith(word)]
    if len(digest_matches) > 1:
        names = ", ".join(p.name for p in digest_matches[:5])
        raise UserError(f"run '{word}': {len(digest_matches)} digests begin so ({names})", "give more of it")
    name_matches = [f.path for f in run_folders if f.name == word]
    finished_matches = [p for p in name_matches if read_finished_result(p) is not None]
    for path in (*digest_matches, *finished_matches, *name_matches):
        return path
    if not run_folders:
        raise UserError(f"no runs in {runs}", "`attncli run` makes one, --runs names another folder")
    raise unknown_name_error("run", word, [f.name for f in run_folders])
