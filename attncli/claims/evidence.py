"""What claims are judged by, gathered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from attncli import backbones
from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import RunIndex, index_runs
from attncli.analysis.result_merging import merge_results, rename_failed_groups
from attncli.claims.throughput import SpeedStore
from attncli.dataset_catalog import has_origin, suggest_dataset
from attncli.errors import UserError
from attncli.runs import (
    FailedRun,
    FinishedRun,
    RunStore,
    list_store_options,
    read_failed_runs,
    read_finished_runs,
)


@dataclass(frozen=True)
class Evidence:
    """Counts, speeds and finished runs; with `backbone`, what is measured is read with that network."""

    counts: CountCache
    speeds: SpeedStore
    runs: Sequence[FinishedRun] = ()
    backbone: str | None = None
    report_step: Callable[[str], None] = field(default=lambda _: None)  # what is being judged
    failures: Sequence[FailedRun] = ()
    planned_seeds: int | None = None  # before the first run, for runs that do not say so themselves
    store_options: Sequence[str] = ()  # the words with which a command works on the same runs

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
    report_step: Callable[[str], None] = lambda _: None,
    report_unreadable: Callable[[UserError], None] = lambda _: None,
) -> Evidence:
    """Gather what claims are judged by: counts, speeds, and the finished runs of folder and MLflow store.

    Args:
        run_store: Where runs live.
        backbone: The network to read measured claims with, instead of their own.
        folder_is: The dataset whose images the runs on `folder` used.
        measure: Time the networks again.
        planned_seeds: How many seeds were planned before the first run, for runs that do not say so themselves.
        report_step: Called with the id of each claim before it is judged, and with each network before it is counted.
        report_unreadable: Called with what is to be said about finished and failed runs that cannot be read.

    Raises:
        UserError: Unknown backbone or dataset, or the store does not answer.
    """
    if backbone is not None:
        backbones.find_family(backbone)
    finished_runs = _name_dataset(read_finished_runs(run_store, report_unreadable), folder_is)
    return Evidence(
        counts=CountCache(report_network=report_step),
        speeds=SpeedStore(run_store.runs, measure),
        runs=finished_runs,
        backbone=backbone,
        report_step=report_step,
        failures=read_failed_runs(run_store.runs, report_unreadable),
        planned_seeds=planned_seeds,
        store_options=list_store_options(run_store),
    )


def add_runs_of_others(
    evidence: Evidence,
    others: Sequence[FinishedRun],
    failures: Sequence[FailedRun] = (),
    *,
    folder_is: str | None,
    must_match: bool,
) -> Evidence:
    """Return the evidence with the runs of others too.

    Args:
        evidence: What was gathered here.
        others: Runs of `attncli.result_files.imported_results`.
        failures: Those of `attncli.result_files.read_failures_of_results`.
        folder_is: The dataset whose images the others' runs on `folder` used, if their file does not say it.
        must_match: Whether it is an error if no run of others can be paired with one here.

    Raises:
        UserError: As `attncli.analysis.result_merging.merge_results`.
    """
    merged_runs = merge_results(evidence.runs, _name_dataset(others, folder_is), must_match=must_match)
    return replace(evidence, runs=merged_runs, failures=[*rename_failed_groups(evidence.failures, others), *failures])


def _name_dataset(runs: Sequence[FinishedRun], folder_is: str | None) -> Sequence[FinishedRun]:
    """Return the runs, those on the user's own images under the name of the dataset that they are, if it is given.

    Raises UserError for another name of a dataset than its own, such as CIFAR-10.
    """
    if folder_is is None:
        return runs
    if hint := suggest_dataset(folder_is):
        raise UserError(f"unknown dataset: '{folder_is}'", hint)
    return [replace(run, dataset=folder_is) if has_origin(run.dataset, "user") else run for run in runs]
