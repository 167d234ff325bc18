"""Execute the plan of a sweep: its tasks, its parent runs in MLflow, its final status."""

from collections.abc import Callable, Iterator, Sequence

from attncli import track
from attncli.jobs.events import Task, TaskEnded, TaskEvent, TaskSource
from attncli.jobs.plan import PlannedRun, SweepPlan
from attncli.records import PLAN_TAG, Status
from attncli.system.files import make_file_name
from attncli.system.signals import StopRequest
from attncli.track import RunStore
from attncli.track.run_names import RUN_NAME_TAG, distinguish_names

Executor = Callable[[TaskSource, StopRequest], Iterator[TaskEvent]]


def execute_plan(
    plan: SweepPlan, executor: Executor, stop: StopRequest, run_store: RunStore, *, fail_fast: bool = False
) -> Iterator[TaskEvent]:
    """Have the executor do the unfinished runs of the plan in order. A finished plan costs nothing.

    With `fail_fast` the first failure stops the other runs, which save a checkpoint. Raises UserError for a store
    that does not answer, RunFailedError if no worker starts.
    """
    unfinished_runs, open_marker = plan.unfinished_runs, run_store.runs / f".{make_file_name(plan.name)}.begun"
    has_open_parents = open_marker.exists()  # an earlier process was killed before it closed them
    if not unfinished_runs and not has_open_parents:
        return
    track.check_reachable(run_store)
    parents: dict[str, dict[str, str]] = {}

    def open_tasks() -> list[Task]:
        parents.update(track.begin_parent_runs(plan.name, [run.recipe for run in plan.runs], run_store))
        run_store.runs.mkdir(parents=True, exist_ok=True)  # the store may be elsewhere, and does not make the folder
        open_marker.touch()
        return build_tasks(plan, parents)

    source = TaskSource(len(list_networks_to_time(plan)), len(unfinished_runs), open_tasks)
    status: Status = "FAILED"  # unless no error comes
    statuses: list[str] = []
    try:
        for event in executor(source, stop):
            if isinstance(event, TaskEnded) and not event.task.timing:
                statuses.append(event.status)
                if fail_fast and event.status != "FINISHED" and not stop.reason:
                    stop.reason = f"stopped by the failure of {event.task.title}"
            yield event
        status = summarize_status(statuses, len(unfinished_runs), stopped=bool(stop.reason))
    finally:
        if parents and track.end_parent_runs(parents, [run.digest for run in plan.runs], status, run_store):
            open_marker.unlink(missing_ok=True)


def summarize_status(statuses: Sequence[str], run_count: int, *, stopped: bool) -> Status:
    """Return a sweep's status from those of its runs; one that was stopped with nothing left to do is finished."""
    if statuses.count("FINISHED") == run_count:
        return "FINISHED"
    return "KILLED" if stopped else "FAILED"


def build_tasks(plan: SweepPlan, parents: "dict[str, dict[str, str]]") -> list[Task]:
    """Return one timing task per network to time, then the unfinished runs.

    `parents` has the tags of each experiment. Each run is told its name beside the others, and how many seeds the plan
    has of it, finished ones too.
    """
    names = distinguish_names([run.recipe for run in plan.runs])
    names_by_digest = {run.digest: name for run, name in zip(plan.runs, names, strict=True)}
    unfinished_runs = plan.unfinished_runs
    planned_seeds = plan.collect_seeds()
    return [
        *(Task(recipe=r.recipe, digest=r.digest, title=r.title, timing=True) for r in list_networks_to_time(plan)),
        *(
            Task(
                recipe=r.recipe,
                digest=r.digest,
                title=r.title,
                tags=parents[track.choose_experiment_name(r.recipe)]
                | {
                    PLAN_TAG: str(len(planned_seeds[r.recipe.compute_group()])),
                    RUN_NAME_TAG: names_by_digest[r.digest],
                },
            )
            for r in unfinished_runs
        ),
    ]


def list_networks_to_time(plan: SweepPlan) -> list[PlannedRun]:
    """Return for each network of the unfinished runs whose speed is wanted the first of its runs."""
    first_runs = {run.recipe.compute_group(): run for run in reversed(plan.unfinished_runs) if run.recipe.measure.speed}
    return list(reversed(first_runs.values()))
