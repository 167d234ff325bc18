"""Results that travel: finished runs with their provenance and predictions in one small file, and merged with others.

The file is a ZIP archive: RESULTS_INFO, and for each run its folder with TRAVELLING_FILES, without weights and images.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attncli import __version__
from attncli.errors import UserError
from attncli.records import LOG, RESULT
from attncli.runs import RECIPE, FinishedRun, read_folder_runs
from attncli.system.files import write_atomically
from attncli.track.predictions import PREDICTIONS_FILE
from attncli.track.provenance import ORIGIN_FILE

RESULTS_INFO = "results.json"
FORMAT = 1
TRAVELLING_FILES = (RECIPE, RESULT, ORIGIN_FILE, LOG, PREDICTIONS_FILE)
_MEMBER = re.compile(rf"([0-9a-f]{{12}})/({'|'.join(map(re.escape, TRAVELLING_FILES))})")


def export_results(runs: Sequence[FinishedRun], path: Path) -> int:
    """Write finished runs to a file; return how many. Runs without a folder, which only MLflow has, are left out.

    Raises UserError if there is none, or the file cannot be written.
    """
    folders = [run.folder for run in runs if run.folder is not None]
    if not folders:
        raise UserError("no finished runs to export", "`attncli ls runs` lists them")
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            info = {"format": FORMAT, "attncli": __version__, "runs": [folder.name for folder in folders]}
            archive.writestr(RESULTS_INFO, json.dumps(info))
            for folder in folders:
                for name in TRAVELLING_FILES:
                    if (folder / name).exists():
                        archive.write(folder / name, f"{folder.name}/{name}")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: {error.strerror or error}", "give a file that can be written") from error
    return len(folders)


@contextmanager
def imported_results(paths: Sequence[Path]) -> Iterator[list[FinishedRun]]:
    """Give the finished runs of files that `export_results` wrote; their folders last as long as the context.

    Raises UserError if a file cannot be read or was not written by `export_results`.
    """
    with TemporaryDirectory(prefix="attncli-results-") as folder:
        runs: list[FinishedRun] = []
        for number, path in enumerate(paths):
            target = Path(folder) / str(number)
            _extract_results(path, target)
            runs += read_folder_runs(target)
        yield runs


def _extract_results(path: Path, target: Path) -> None:
    """Extract the files of runs, and no others, below `target`."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = json.loads(archive.read(RESULTS_INFO))
            if info["format"] > FORMAT:
                raise UserError(f"{path}: written by attncli {info['attncli']}", "use that version or a later one")
            for name in archive.namelist():
                if member := _MEMBER.fullmatch(name):
                    (target / member[1]).mkdir(parents=True, exist_ok=True)
                    write_atomically(target / member[1] / member[2], archive.read(name))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give a file of `attncli results export`") from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a file of results", "give a file of `attncli results export`") from error


def merge_results(own: Sequence[FinishedRun], others: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Return one's own runs and those of others; a run that both have counts once, as one's own.

    Raises UserError if a run of the same recipe saw other images, or if no run of others has the images and settings
    (all but network and seed) of one's own, so that nothing could be paired.
    """
    own_runs = {run.digest: run for run in own}
    for run in others:
        twin = own_runs.get(run.digest)
        if twin is not None and twin.result.data_digest != run.result.data_digest:
            raise UserError(
                f"run {run.digest} ({run.result.attn}, {run.dataset}) saw other images there than here",
                "the datasets differ: `attncli data verify` checks one's own",
            )
    settings = {_make_settings_key(run) for run in own}
    if own and others and settings.isdisjoint(_make_settings_key(run) for run in others):
        raise UserError(
            "no run in the file has the images and recipe of a run here, so none can be paired",
            "`attncli ls runs` lists the recipes; --runs with an empty folder shows the file alone",
        )
    new_runs = {run.digest: run for run in others if run.digest not in own_runs}
    return [*own, *new_runs.values()]


def _make_settings_key(run: FinishedRun) -> str:
    """Return what two runs must share to be paired: images and recipe without network and seed."""
    identity = run.recipe.build_identity()
    shared = {name: value for name, value in identity.items() if name not in ("model", "seed")}
    return json.dumps(shared | {"images": run.result.data_digest}, sort_keys=True)
