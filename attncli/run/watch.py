"""Who looks on while a run goes on."""

from typing import Protocol

from attncli.records import Record
from attncli.train import Step


class Watch(Protocol):
    """Who looks on: told of stages, of files read, of steps, of records, and of what the user should know."""

    def stage(self, what: str) -> None:
        """A part of the run begins."""

    def reading(self, what: str, done: int, total: int) -> None:
        """Files are downloaded or decoded."""

    def step(self, step: Step) -> None:
        """Training goes on."""

    def record(self, record: Record) -> None:
        """A record was made."""

    def warn(self, what: str) -> None:
        """Something that stopped nothing."""
