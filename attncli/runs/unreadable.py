"""Finished runs that this version cannot read: how many there are, who wrote them, and why."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from attncli import __version__
from attncli.errors import UserError
from attncli.quantities import format_first, format_quantity
from attncli.records import RESULT
from attncli.runs.finished_run import FinishedRun
from attncli.runs.folders import read_folder_recipe
from attncli.track.provenance import ORIGIN_FILE, read_provenance

NAMED_RUNS = 5  # damaged ones
TRAIN_AGAIN = "the command of such a run trains it again"


@dataclass(frozen=True, kw_only=True)
class UnreadableRun:
    """A run that cannot be read.

    `digest` names the run, and `version` is that of the attncli which wrote it, "" if nothing says so. `unknown_keys`
    are the dotted keys of its recipe that this version does not know.
    """

    digest: str
    version: str = ""
    unknown_keys: tuple[str, ...] = ()

    @property
    def is_newer(self) -> bool:
        """Whether a newer version wrote the run: its number is higher, or the recipe has unknown keys."""
        return bool(self.unknown_keys) or _parse_version(self.version) > _parse_version(__version__)


def find_unreadable_runs(
    runs: Path, finished_runs: Iterable[FinishedRun], advice: str = TRAIN_AGAIN
) -> list[UserError]:
    """Return an error for each reason why folders of finished runs are not among those that were read; none if all are.

    Args:
        runs: The folder of runs.
        finished_runs: Those that could be read.
        advice: What to do about runs that are damaged.
    """
    return explain_unreadable_runs(list_unreadable_folders(runs, finished_runs), advice)


def list_unreadable_folders(runs: Path, finished_runs: Iterable[FinishedRun]) -> list[UnreadableRun]:
    """Return the finished runs of a folder of runs that are not among those that were read, by digest."""
    read_names = {run.folder.name if run.folder else run.digest for run in finished_runs}
    folders = sorted({path.parent for name in (RESULT, ORIGIN_FILE) for path in runs.glob(f"*/{name}")})
    return [
        describe_unreadable_folder(folder)
        for folder in folders
        if folder.name not in read_names and _should_be_finished(folder)
    ]


def describe_unreadable_folder(folder: Path) -> UnreadableRun:
    """Return what is known of a run that cannot be read from its folder."""
    provenance = read_provenance(folder)
    version = "" if provenance is None else provenance.version
    return UnreadableRun(digest=folder.name, version=version, unknown_keys=_find_unknown_keys(folder))


def explain_unreadable_runs(
    unreadable: Sequence[UnreadableRun], advice: str = TRAIN_AGAIN, kind: str = "finished run"
) -> list[UserError]:
    """Return an error for the runs of newer versions and one for the damaged runs, each if there are any.

    The first names the versions and the unknown keys, the second the runs; their hints say what to do.

    Args:
        unreadable: The runs.
        advice: What to do about runs that are damaged.
        kind: What to call one of them.
    """
    newer = [run for run in unreadable if run.is_newer]
    damaged = [run.digest for run in unreadable if not run.is_newer]
    errors = []
    if newer:
        versions = sorted({run.version for run in newer} - {"", __version__}, key=_parse_version)
        keys = sorted({key for run in newer for key in run.unknown_keys})
        named = f" ({', '.join(versions)})" if versions else ""
        reason = f", as this one does not know {', '.join(keys)}" if keys else ""
        count = format_quantity(len(newer), kind)
        errors.append(UserError(f"{count} of a newer version{named} cannot be read{reason}", "update attncli"))
    if damaged:
        names = format_first(damaged, NAMED_RUNS)
        count = format_quantity(len(damaged), kind)
        errors.append(UserError(f"{count} cannot be read (damaged, or of a newer version): {names}", advice))
    return errors


def list_unknown_keys(error: Exception) -> tuple[str, ...]:
    """Return the dotted keys of a recipe that this version does not know, by the error of its check."""
    key_errors = error.errors() if isinstance(error, ValidationError) else ()
    return tuple(
        ".".join(map(str, key_error["loc"])) for key_error in key_errors if key_error["type"] == "extra_forbidden"
    )


def _should_be_finished(folder: Path) -> bool:
    """Return whether a run's origin says that it is finished, or is lost though there is a result."""
    provenance = read_provenance(folder)
    return provenance.status == "FINISHED" if provenance is not None else (folder / RESULT).exists()


def _find_unknown_keys(folder: Path) -> tuple[str, ...]:
    """Return the unknown keys of a run's recipe; none if it cannot be read at all."""
    try:
        read_folder_recipe(folder)
    except (OSError, ValueError, yaml.YAMLError, UserError) as error:
        return list_unknown_keys(error)
    return ()


def _parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, without its suffix: (1, 2) for 1.2.dev0; none for a text that has none."""
    numbers = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
