"""Finished runs that this version cannot read: how many there are, and why."""

from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import ValidationError

from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.records import RESULT
from attncli.runs.finished_run import FinishedRun
from attncli.runs.folders import read_folder_recipe
from attncli.track.provenance import ORIGIN_FILE, read_provenance

NAMED_FOLDERS = 5  # of damaged runs
TRAIN_AGAIN = "the command of such a run trains it again"


def find_unreadable_runs(
    runs: Path, finished_runs: Iterable[FinishedRun], advice: str = TRAIN_AGAIN
) -> list[UserError]:
    """Return an error for each reason why folders of finished runs are not among those that were read; none if all are.

    A newer version wrote the recipes that have keys which this one does not know: their error names the keys.

    Args:
        runs: The folder of runs.
        finished_runs: Those that could be read.
        advice: What to do about runs that are damaged.
    """
    read_names = {run.folder.name if run.folder else run.digest for run in finished_runs}
    folders = sorted({path.parent for name in (RESULT, ORIGIN_FILE) for path in runs.glob(f"*/{name}")})
    unreadable = [folder for folder in folders if folder.name not in read_names and _should_be_finished(folder)]
    unknown_keys = {folder: keys for folder in unreadable if (keys := _find_unknown_keys(folder))}
    damaged = [folder.name for folder in unreadable if folder not in unknown_keys]
    errors = []
    if unknown_keys:
        names = ", ".join(sorted(set().union(*unknown_keys.values())))
        count = format_quantity(len(unknown_keys), "finished run")
        errors.append(
            UserError(f"{count} of a newer version cannot be read, as this one does not know {names}", "update attncli")
        )
    if damaged:
        names = ", ".join(damaged[:NAMED_FOLDERS]) + (", ..." if len(damaged) > NAMED_FOLDERS else "")
        count = format_quantity(len(damaged), "finished run")
        errors.append(UserError(f"{count} cannot be read (damaged, or of a newer version): {names}", advice))
    return errors


def _should_be_finished(folder: Path) -> bool:
    """Return whether a run's origin says that it is finished, or is lost though there is a result."""
    provenance = read_provenance(folder)
    return provenance.status == "FINISHED" if provenance is not None else (folder / RESULT).exists()


def _find_unknown_keys(folder: Path) -> list[str]:
    """Return the dotted keys of a run's recipe that this version does not know; none if it cannot be read at all."""
    try:
        read_folder_recipe(folder)
    except ValidationError as error:
        return [".".join(map(str, part["loc"])) for part in error.errors() if part["type"] == "extra_forbidden"]
    except (OSError, ValueError, yaml.YAMLError, UserError):
        pass
    return []
