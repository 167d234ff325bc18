"""A run while it goes on: a progress bar on a terminal, a line an epoch elsewhere, always on stderr."""

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from attncli.records import Cost, Epoch, Evaluation, Record, Speed

if TYPE_CHECKING:
    from attncli.train.progress import Step  # loads torch, which the parent of a sweep can do without


class Live:
    """Draws what a run tells; use it as a context, which leaves the terminal as it was."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = 0

    def __enter__(self) -> "Live":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # before rich 15, stopping prints an empty line even so
            self._bar.stop()

    def stage(self, what: str) -> None:
        """Say what begins now."""
        self._drop()
        self._console.print(what, style="dim", soft_wrap=True)

    def reading(self, what: str, done: int, total: int) -> None:
        """Files downloaded or decoded so far."""
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        self._draw(what, done, total, share)

    def step(self, step: "Step") -> None:
        """Steps of training so far."""
        self._epochs = step.epochs
        done, total = (step.epoch - 1) * step.steps + step.step, step.epochs * step.steps
        told = f"{step.images_per_s:,.0f} images/s  loss {step.loss:.3f}  {clock(step.seconds_left)} left"
        self._draw(f"epoch {step.epoch}/{step.epochs}", done, total, told)

    def record(self, record: Record) -> None:
        """A record that was just made."""
        if isinstance(record, Epoch):
            self._console.print(epoch_line(record, self._epochs), soft_wrap=True)
        elif isinstance(record, Evaluation):
            self._console.print(f"{record.split}: top-1 {record.top1:.2%} of {record.images:,} images", soft_wrap=True)
        elif isinstance(record, Cost | Speed):
            self._drop()

    def warn(self, what: str) -> None:
        """Something the user should know that stopped nothing."""
        self._console.print(f"warning: {what}", style="yellow", soft_wrap=True)

    def _draw(self, what: str, done: int, total: int, told: str) -> None:
        if self._task is None:
            self._task = self._bar.add_task(what, total=total or None, told=told)
        self._bar.update(self._task, description=what, completed=done, total=total or None, told=told)

    def _drop(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """An epoch in a line."""
    of = f"/{epochs}" if epochs else ""
    val = "" if epoch.val_top1 is None else f"  val top-1 {epoch.val_top1:.2%}"
    return f"epoch {epoch.epoch:>3}{of}  loss {epoch.train_loss:.4f}{val}  {epoch.train_images_per_s:,.0f} images/s"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, s = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
