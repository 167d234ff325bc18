"""The folders of runs by name: what `look` and shell completion find runs with, without MLflow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attncli import recipe as recipes
from attncli.errors import UserError, unknown
from attncli.track.describe import run_name
from attncli.track.origin import finished


@dataclass(frozen=True)
class Folder:
    """A run's folder, runs/<digest>, and the run's name, such as eca-resnet18-s0."""

    path: Path
    name: str


def folders(runs: Path) -> Iterator[Folder]:
    """The runs of a folder of runs, the latest first; folders that hold no recipe that can be read are passed over."""
    found = sorted(runs.glob("*/recipe.yaml"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in found:
        try:
            yield Folder(path.parent, run_name(recipes.read(path)))
        except UserError:
            continue


def find(runs: Path, word: str) -> Path:
    """The folder of a run by its path, the beginning of its digest, or its name.

    Where several runs have the name, finished ones go first, and of those the latest. Raises UserError where none is
    meant, or the beginning of a digest means several.
    """
    given = Path(word)
    if (given / "recipe.yaml").exists():
        return given
    there = list(folders(runs))
    begins = [f.path for f in there if f.path.name.startswith(word)]
    if len(begins) > 1:
        names = ", ".join(p.name for p in begins[:5])
        raise UserError(f"run '{word}': {len(begins)} digests begin so ({names})", "give more of it")
    named = [f.path for f in there if f.name == word]
    done = [p for p in named if finished(p) is not None]
    for path in (*begins, *done, *named):
        return path
    if not there:
        raise UserError(f"no runs in {runs}", "`attncli run` makes one, --runs names another folder")
    raise unknown("run", word, [f.name for f in there])
