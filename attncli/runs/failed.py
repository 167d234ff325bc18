"""Runs that failed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import RESULT
from attncli.runs.folders import read_folder_recipe
from attncli.runs.unreadable import UnreadableRun, describe_unreadable_folder, explain_unreadable_runs
from attncli.track.provenance import ORIGIN_FILE, Provenance, read_provenance


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that failed, for example because its loss was no longer finite.

    `data_digest` is the digest of its images, "" if it failed before they were read. `precision`, `device`, `machine`
    and `code` are those of `attncli.records.Result`, empty where its records do not say them.
    """

    recipe: Recipe
    digest: str
    group: str
    data_digest: str = ""
    precision: str = ""
    device: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""

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
        failed_runs.append(_make_failed_run(recipe, provenance))
    for error in explain_unreadable_runs(unreadable, kind="failed run"):
        report_unreadable(error)
    return failed_runs


def _make_failed_run(recipe: Recipe, provenance: Provenance) -> FailedRun:
    """Return a failed run by its provenance; earlier versions kept only its machine, which has one device or more."""
    only_device = "cpu" if provenance.machine and not provenance.machine.get("gpu") else ""
    return FailedRun(
        recipe=recipe,
        digest=provenance.digest,
        group=provenance.group,
        data_digest=provenance.facts.digest if provenance.facts is not None else "",
        precision=provenance.precision or recipe.train.precision,
        device=provenance.device or only_device,
        machine=provenance.machine,
        code=provenance.code,
    )
