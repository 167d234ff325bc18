"""Progress of a run on stderr: a progress bar on a terminal, otherwise one line per epoch."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from attncli.quantities import format_quantity
from attncli.records import Cost, Epoch, Evaluation, Record, Speed

if TYPE_CHECKING:
    from attncli.train.progress import TrainingProgress  # imports torch, which the parent of a sweep does not need


class RunProgress:
    """Show a run's events. Use it as a context manager, which restores the terminal.

    With `quiet` it shows the warnings alone. `epochs` is how many the run has, if it trains. `complete_text` returns a
    warning as it is to be printed.
    """

    def __init__(
        self, quiet: bool = False, epochs: int = 0, complete_text: Callable[[str], str] = lambda text: text
    ) -> None:
        self._console = _make_console(quiet)
        self._warning_console = _make_console() if quiet else self._console  # a bar keeps its own
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}", markup=False),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._complete_text = complete_text
        self._epochs = epochs  # known before the first step: a resumed run shows the epochs done before

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # before rich 15, stopping prints an empty line even so
            self._bar.stop()

    def on_stage(self, what: str, title: str = "") -> None:
        """Print what starts now, after the run's title if there is one."""
        self._remove_bar()
        self._console.print(f"{title}: {what}" if title else what, style="dim", soft_wrap=True)

    def on_reading(self, what: str, completed: int, total: int) -> None:
        """Show how many files are downloaded or decoded."""
        status = f"{completed:,} of {total:,}" if total else f"{completed:,}"
        self._update_bar(what, completed, total, status)

    def on_step(self, progress: "TrainingProgress") -> None:
        """Show how many steps are trained."""
        completed, total = (progress.epoch - 1) * progress.steps + progress.step, progress.epochs * progress.steps
        left = format_duration(progress.seconds_left)
        status = f"{progress.images_per_s:,.0f} images/s  loss {progress.loss:.3f}  {left} left"
        self._update_bar(f"epoch {progress.epoch}/{progress.epochs}", completed, total, status)

    def on_record(self, record: Record) -> None:
        """Print a record that was just made."""
        if isinstance(record, Epoch):
            self._console.print(format_epoch(record, self._epochs), soft_wrap=True)
        elif isinstance(record, Evaluation):
            self._console.print(
                f"{record.split}: top-1 {record.top1:.2%} of {format_quantity(record.images, 'image')}", soft_wrap=True
            )
        elif isinstance(record, Cost | Speed):
            self._remove_bar()

    def on_warning(self, what: str) -> None:
        """Print a warning, in a colour that can be read on white and on black."""
        self._warning_console.print(f"warning: {self._complete_text(what)}", style="magenta", soft_wrap=True)

    def _update_bar(self, what: str, completed: int, total: int, status: str) -> None:
        if self._task is None:
            self._task = self._bar.add_task(what, total=total or None, status=status)
        self._bar.update(self._task, description=what, completed=completed, total=total or None, status=status)

    def _remove_bar(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


def _make_console(quiet: bool = False) -> Console:
    """Return a console on stderr that prints texts as they are: names may have square brackets or :colons:."""
    return Console(stderr=True, quiet=quiet, highlight=False, markup=False, emoji=False)


def format_epoch(epoch: Epoch, epochs: int) -> str:
    """Return an epoch as one line."""
    total = f"/{epochs}" if epochs else ""
    validation = "" if epoch.val_top1 is None else f"  val top-1 {epoch.val_top1:.2%}"
    speed = f"{epoch.train_images_per_s:,.0f} images/s"
    return f"epoch {epoch.epoch:>3}{total}  loss {epoch.train_loss:.4f}{validation}  {speed}"


def format_duration(seconds: float) -> str:
    """Return seconds as h:mm:ss or m:ss."""
    minutes, s = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"
