"""The listener of a run."""

from typing import Protocol

from attncli.records import Record
from attncli.train import TrainingProgress


class RunListener(Protocol):
    """Receives a run's stages, files read, training steps, records and warnings."""

    def on_stage(self, what: str, title: str = "") -> None:
        """Handle the start of a stage; `title` names the run where its listener should."""

    def on_reading(self, what: str, completed: int, total: int) -> None:
        """Handle progress in downloading or decoding files."""

    def on_step(self, progress: TrainingProgress) -> None:
        """Handle progress in the training."""

    def on_record(self, record: Record) -> None:
        """Handle a new record."""

    def on_warning(self, what: str) -> None:
        """Handle a warning."""
