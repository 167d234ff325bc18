"""What claims are judged by, gathered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attncli import backbones
from attncli.analysis.count_cache import CountCache
from attncli.analysis.finished_runs import FinishedRun, read_finished_runs
from attncli.claims.throughput import SpeedStore

FOLDER_DATASET = "folder"  # the dataset that says nothing about what its images are


@dataclass(frozen=True)
class Evidence:
    """Counts, speeds and finished runs; with `backbone`, what is measured is read with that network."""

    counts: CountCache
    speeds: SpeedStore
    runs: Sequence[FinishedRun] = ()
    backbone: str | None = None
    report_claim: Callable[[str], None] = field(default=lambda _: None)  # the id of the claim that is being judged


def gather_evidence(
    runs: Path,
    uri: str | None = None,
    *,
    backbone: str | None = None,
    folder_is: str | None = None,
    measure: bool = False,
    report_claim: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """The evidence in the folder `runs`, and in the MLflow store `uri` where one is given.

    `folder_is` names the dataset whose images the runs on `folder` used. With `measure`, speeds are timed anew.
    Raises UserError for an unknown backbone and for a store that does not answer.
    """
    if backbone is not None:
        backbones.find_family(backbone)
    finished_runs = read_finished_runs(runs, uri)
    if folder_is is not None:
        finished_runs = [
            replace(run, dataset=folder_is) if run.dataset == FOLDER_DATASET else run for run in finished_runs
        ]
    return Evidence(CountCache(), SpeedStore(runs, measure), finished_runs, backbone, report_claim)
