"""Who looks on while a run goes on."""

from typing import Protocol

from attncli.records import Record
from attncli.train import TrainingProgress


class RunListener(Protocol):
    """Who looks on: told of stages, of files read, of steps, of records, and of what the user should know."""

    def on_stage(self, what: str) -> None:
        """A part of the run begins."""

    def on_reading(self, what: str, completed: int, total: int) -> None:
        """Files are downloaded or decoded."""

    def on_step(self, progress: TrainingProgress) -> None:
        """Training goes on."""

    def on_record(self, record: Record) -> None:
        """A record was made."""

    def on_warning(self, what: str) -> None:
        """Something that stopped nothing."""
