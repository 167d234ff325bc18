"""Estimate the time of the runs of a sweep that are not finished, from its plan and from the runs finished so far."""

import statistics
from collections import defaultdict

from attncli.jobs.plan import SweepPlan


class RunTimeEstimator:
    """Know how long the unfinished runs of a plan take.

    Mechanisms differ in time by a factor of ten and more, so the mean of the runs finished so far says little about
    the others: the slow mechanism that happened to be first would stand for all.
    """

    def __init__(self, plan: SweepPlan, jobs: int) -> None:
        """Take the estimates of a plan, whose runs have the whole machine, for `jobs` runs at a time."""
        self._planned_seconds = {run.digest: run.expected_seconds for run in plan.unfinished_runs}
        self._groups = {run.digest: run.recipe.compute_group() for run in plan.unfinished_runs}
        self._finished_seconds: dict[str, float] = {}  # by digest
        self._seconds_by_group: dict[str, list[float]] = defaultdict(list)
        seconds, _ = plan.estimate_seconds()
        planned_training = sum(planned for planned in self._planned_seconds.values() if planned is not None)
        self._planned_pace = jobs * seconds / planned_training if planned_training else 1.0  # with the timings

    def record_finished_run(self, digest: str, seconds: float) -> None:
        """Learn from a run that finished after so many seconds."""
        self._finished_seconds[digest] = seconds
        self._seconds_by_group[self._groups[digest]].append(seconds)

    def estimate_run(self, digest: str) -> float | None:
        """Return the seconds of a run, or None if nothing is known.

        They are the median of the runs that finished with the same recipe and another seed. Else they are the plan's,
        by as much longer or shorter as the finished runs took than the plan said. Else they are the mean of the
        finished runs.
        """
        if same_recipe := self._seconds_by_group.get(self._groups[digest]):
            return statistics.median(same_recipe)
        planned_seconds = self._planned_seconds[digest]
        if planned_seconds is not None:
            return planned_seconds * self._compute_pace()
        return statistics.fmean(self._finished_seconds.values()) if self._finished_seconds else None

    def _compute_pace(self) -> float:
        """Return the time that runs take over what the plan says, which is with the whole machine."""
        planned = {digest: self._planned_seconds[digest] for digest in self._finished_seconds}
        known = {digest: seconds for digest, seconds in planned.items() if seconds}
        if not known:
            return self._planned_pace
        return sum(self._finished_seconds[digest] for digest in known) / sum(known.values())
