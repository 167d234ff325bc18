"""Runs that failed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import RESULT
from attncli.runs.folders import read_folder_recipe
from attncli.runs.unreadable import UnreadableRun, describe_unreadable_folder, explain_unreadable_runs
from attncli.track.provenance import ORIGIN_FILE, read_provenance


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that failed, for example because its loss was no longer finite.

    `data_digest` is the digest of its images, "" if it failed before they were read.
    """

    recipe: Recipe
    digest: str
    group: str
    data_digest: str = ""

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.recipe.seed


def read_failed_runs(runs: Path, report_unreadable: Callable[[UserError], None] = lambda _: None) -> list[FailedRun]:
    """Return the runs of a folder of runs that failed, by digest.

    Args:
        runs: The folder of runs.
        report_unreadable: Called once for the failed runs of newer versions and once for those whose recipe is damaged,
            with an error that says how many there are and what to do. These runs are left out.
    """
    failed_runs: list[FailedRun] = []
    unreadable: list[UnreadableRun] = []
    for path in sorted(runs.glob(f"*/{ORIGIN_FILE}")):
        if (path.parent / RESULT).exists():
            continue
        provenance = read_provenance(path.parent)
        if provenance is None or provenance.current_status() != "FAILED":
            continue
        try:
            recipe = read_folder_recipe(path.parent)
        except (OSError, ValueError, yaml.YAMLError, UserError):
            unreadable.append(describe_unreadable_folder(path.parent))
            continue
        data_digest = provenance.facts.digest if provenance.facts is not None else ""
        failed_runs.append(
            FailedRun(recipe=recipe, digest=provenance.digest, group=provenance.group, data_digest=data_digest)
        )
    for error in explain_unreadable_runs(unreadable, kind="failed run"):
        report_unreadable(error)
    return failed_runs
