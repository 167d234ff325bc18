"""Progress of a sweep on stderr: a table of the active runs on a terminal, otherwise one line per event."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from attncli import records
from attncli.jobs import (
    JobsChanged,
    SweepPlan,
    Task,
    TaskEnded,
    TaskEvent,
    TaskProgress,
    TaskStage,
    TaskStarted,
    TaskWaiting,
    TaskWarning,
)
from attncli.jobs.remaining_time import RunTimeEstimator
from attncli.quantities import format_quantity
from attncli.report.run_progress import format_duration

RowKey = tuple[str, bool]  # (digest of a run, whether its network is timed): two runs may have one title


@dataclass
class RunningRow:
    """A run that is active, or a network that is timed."""

    name: str
    began: float
    what: str = "starting"
    images_per_s: float | None = None
    seconds_left: float | None = None


class SweepProgress:
    """Show a sweep's events. Use it as a context manager, which restores the terminal.

    `failures` are the runs that were not finished, in order. With `quiet` it shows the warnings alone.
    """

    def __init__(self, plan: SweepPlan, runs: Any, *, jobs: int, quiet: bool = False) -> None:
        self.failures: list[TaskEnded] = []
        self._runs = runs
        self._jobs = jobs
        self._checkpoints = {run.digest for run in plan.runs if run.has_checkpoint}  # of runs that resume
        self._total = len(plan.runs)
        self._rows: dict[RowKey, RunningRow] = {}
        self._waited: set[RowKey] = set()  # for another process; already reported
        self._warnings: set[str] = set()  # already printed
        self._estimator = RunTimeEstimator(plan, jobs)
        self._unfinished = {run.digest for run in plan.unfinished_runs}
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._live = Live(console=self._console, transient=True, refresh_per_second=2, get_renderable=self.render_table)
        self._drawn = self._console.is_terminal and not quiet

    def __enter__(self) -> "SweepProgress":
        if self._drawn:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._live.stop()

    def handle_event(self, event: TaskEvent) -> None:
        """Process an event; starts, ends and warnings are printed as one line each."""
        if isinstance(event, JobsChanged):
            self._jobs = event.jobs
            return self._print_line(f"{event.jobs} {'runs' if event.jobs > 1 else 'run'} at a time: {event.reason}")
        name = event.task.title + (" (timing)" if event.task.timing else "")
        key = (event.task.digest, event.task.timing)
        if isinstance(event, TaskStarted):
            self._rows[key] = RunningRow(name, time.monotonic())
            if not self._drawn and not event.task.timing:
                self._print_line(f"{'resumes' if event.task.digest in self._checkpoints else 'begun':9} {name}")
        elif isinstance(event, TaskStage) and key in self._rows:
            self._rows[key].what = event.text
        elif isinstance(event, TaskProgress) and key in self._rows:
            row = self._rows[key]
            row.what = f"epoch {event.epoch}/{event.epochs}"
            row.images_per_s, row.seconds_left = event.images_per_s, event.seconds_left
        elif isinstance(event, TaskWarning):
            if event.text not in self._warnings:  # the runs of a sweep mostly have the same images
                self._print_warning(f"warning: {name}: {event.text}")
            self._warnings.add(event.text)
        elif isinstance(event, TaskWaiting):
            self._rows.pop(key, None)
            if key not in self._waited:
                self._print_line(f"waiting   {name}: another process is running it")
            self._waited.add(key)
        elif isinstance(event, TaskEnded):
            self._finish_run(event, name)
        return None

    def _finish_run(self, event: TaskEnded, name: str) -> None:
        row = self._rows.pop((event.task.digest, event.task.timing), None)
        if event.task.timing:
            if event.status != "FINISHED":
                self._print_warning(f"not timed {name}: {event.problem}")
            return
        self._unfinished.discard(event.task.digest)
        seconds = time.monotonic() - row.began if row else 0.0
        if event.status == "FINISHED":
            if row:
                self._estimator.record_finished_run(event.task.digest, seconds)
            took = f", {format_duration(seconds)}" if row else " (by another process)"
            self._print_line(
                f"finished  {name}: top-1 {self._format_run_top1(event.task)}{took}; {self.format_progress()}"
            )
        else:
            self.failures.append(event)
            self._print_line(f"{event.status.lower():9} {name}: {event.problem}", "red")

    def _format_run_top1(self, task: Task) -> str:
        result = records.read_result(self._runs / task.digest)
        return "-" if result is None or result.test_top1 is None else f"{result.test_top1:.2%}"

    def _print_line(self, text: str, style: str = "") -> None:
        if not self._quiet:
            self._console.print(Text(text, style), soft_wrap=True)

    def _print_warning(self, text: str) -> None:
        self._console.print(Text(text, "yellow"), soft_wrap=True)

    def format_progress(self) -> str:
        """Return how many runs have ended, and the time that is left if it is known."""
        seconds_left = self.estimate_seconds_left()
        progress = f"{self._total - len(self._unfinished)} of {format_quantity(self._total, 'run')}"
        return progress + (
            f", about {format_duration(seconds_left)} left" if seconds_left is not None and self._unfinished else ""
        )

    def estimate_seconds_left(self) -> float | None:
        """Return the seconds left: of active runs as they say, of the others by `RunTimeEstimator`.

        Runs of which that knows nothing take as long as the slowest active one. None if that says nothing either.
        """
        now = time.monotonic()
        rows = {digest: row for (digest, is_timed), row in self._rows.items() if not is_timed}
        began = {digest: row.began for digest, row in rows.items()}
        told = {digest: row.seconds_left for digest, row in rows.items() if row.seconds_left is not None}
        slowest = max((now - began[digest] + seconds for digest, seconds in told.items()), default=None)
        total = 0.0
        for digest in self._unfinished:
            if digest in told:
                total += told[digest]
                continue
            seconds = self._estimator.estimate_run(digest)
            seconds = slowest if seconds is None else seconds
            if seconds is None:
                return None
            total += max(0.0, seconds - (now - began.get(digest, now)))
        return max([total / self._jobs, *told.values()])

    def render_table(self) -> Group:
        """Return the table of the active runs, and the line below it."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self._rows), header_style="dim")
        for heading in ("active", "", "images/s", "left"):
            table.add_column(heading, justify="right" if heading in ("images/s", "left") else "left", no_wrap=True)
        for row in self._rows.values():
            speed = "" if row.images_per_s is None else f"{row.images_per_s:,.0f}"
            remaining = "" if row.seconds_left is None else format_duration(row.seconds_left)
            table.add_row(Text(row.name), Text(row.what), speed, remaining)
        failed = f", {len(self.failures)} not finished" if self.failures else ""
        return Group(table, Text(self.format_progress() + failed, "bold"))
