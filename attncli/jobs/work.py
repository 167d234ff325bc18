"""A sweep from its plan to its end: what is to do, MLflow's parent runs, how it ended."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attncli import track
from attncli.jobs.event import Ended, Event, Task
from attncli.jobs.plan import Plan, Planned
from attncli.jobs.stop import Stop
from attncli.records import Status

Executor = Callable[[Sequence[Task], Stop], Iterator[Event]]


def work(
    plan: Plan, executor: Executor, stop: Stop, *, runs: Path, uri: str | None, fail_fast: bool = False
) -> Iterator[Event]:
    """Have the executor do what the plan lacks, in order; a plan that is all finished costs nothing.

    With `fail_fast` the first failure stops the others, which save what they have. Raises UserError for a store
    that does not answer, RunFailedError where no worker starts.
    """
    todo, begun = plan.todo, runs / f".{plan.name}.begun"
    if not todo and not begun.exists():  # where that file is left, its process was killed before it closed the parents
        return
    track.reach(uri, runs)
    parents = track.begin_sweep(plan.name, [run.recipe for run in plan.runs], runs=runs, uri=uri)
    begun.touch()
    status: Status = "FAILED"  # as long as an error may come
    endings: list[str] = []
    try:
        for event in executor(tasks(todo, parents), stop):
            if isinstance(event, Ended) and not event.task.timing:
                endings.append(event.status)
                if fail_fast and event.status != "FINISHED" and not stop.reason:
                    stop.reason = f"stopped by the failure of {event.task.title}"
            yield event
        status = ended(endings, len(todo), stopped=bool(stop.reason))
    finally:
        if track.end_sweep(parents, [run.digest for run in plan.runs], status, runs=runs, uri=uri):
            begun.unlink(missing_ok=True)


def ended(endings: Sequence[str], wanted: int, *, stopped: bool) -> Status:
    """How a sweep ended whose runs ended so; one that was stopped with nothing left to do is finished."""
    if endings.count("FINISHED") == wanted:
        return "FINISHED"
    return "KILLED" if stopped else "FAILED"


def tasks(todo: Sequence[Planned], parents: "dict[str, dict[str, str]]") -> list[Task]:
    """A timing for each network that is to be timed, then the runs; `parents` has the tags of each experiment."""
    timings = {run.recipe.group(): run for run in reversed(todo) if run.recipe.measure.speed}
    return [
        *(Task(recipe=r.recipe, digest=r.digest, title=r.title, timing=True) for r in reversed(timings.values())),
        *(
            Task(recipe=r.recipe, digest=r.digest, title=r.title, tags=parents[track.experiment_name(r.recipe)])
            for r in todo
        ),
    ]
