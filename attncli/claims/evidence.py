"""What claims are judged by, gathered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from attncli import backbones
from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import RunIndex, index_runs
from attncli.claims.throughput import SpeedStore
from attncli.dataset_catalog import has_origin
from attncli.runs import FailedRun, FinishedRun, RunStore, read_failed_runs, read_finished_runs


@dataclass(frozen=True)
class Evidence:
    """Counts, speeds and finished runs; with `backbone`, what is measured is read with that network."""

    counts: CountCache
    speeds: SpeedStore
    runs: Sequence[FinishedRun] = ()
    backbone: str | None = None
    report_claim: Callable[[str], None] = field(default=lambda _: None)  # the id of the claim that is being judged
    failures: Sequence[FailedRun] = ()
    planned_seeds: int | None = None  # before the first run, for runs that do not say so themselves

    @cached_property
    def run_index(self) -> RunIndex:
        """The finished runs by network and protocol."""
        return index_runs(self.runs)


def gather_evidence(
    run_store: RunStore,
    *,
    backbone: str | None = None,
    folder_is: str | None = None,
    measure: bool = False,
    planned_seeds: int | None = None,
    report_claim: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Gather what claims are judged by: counts, speeds, and the finished runs of folder and MLflow store.

    Args:
        run_store: Where runs live.
        backbone: The network to read measured claims with, instead of their own.
        folder_is: The dataset whose images the runs on `folder` used.
        measure: Time the networks again.
        planned_seeds: How many seeds were planned before the first run, for runs that do not say so themselves.
        report_claim: Called with the id of each claim before it is judged.

    Raises:
        UserError: Unknown backbone, or the store does not answer.
    """
    if backbone is not None:
        backbones.find_family(backbone)
    finished_runs = read_finished_runs(run_store)
    if folder_is is not None:
        finished_runs = [
            replace(run, dataset=folder_is) if has_origin(run.dataset, "user") else run for run in finished_runs
        ]
    return Evidence(
        counts=CountCache(),
        speeds=SpeedStore(run_store.runs, measure),
        runs=finished_runs,
        backbone=backbone,
        report_claim=report_claim,
        failures=tuple(read_failed_runs(run_store.runs)),
        planned_seeds=planned_seeds,
    )
