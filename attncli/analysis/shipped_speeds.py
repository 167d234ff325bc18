"""Speeds of mechanisms against the plain network, as attncli brings them in the file of its counts.

They are figures to read, not to decide by: a ratio of speeds depends on the machine, the number of threads and the size
of the batch, so nothing in attncli uses them for a verdict. `python -m tests.generate.speeds` measures and writes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attncli.records import Speed
from attncli.system.other_work import QUIET_CORES

PHASES = ("train", "infer")
MACHINE_FACTS = ("cpu", "gpu", "usable_cpus", "torch")
COMPARED_MACHINE_FACTS = ("cpu", "gpu", "torch")  # the number of threads says how many cores were used


@dataclass(frozen=True, kw_only=True)
class SpeedRecord:
    """How fast a network is in comparison with the plain one, and under what conditions that was measured.

    Ratios are images per second of the network over those of the plain one; `low` and `high` bound the ratio with
    95 % confidence over the processes that timed it.
    """

    network: str  # as `attncli.analysis.shipped_counts.name_network` names it
    attn: str
    phase: str  # one of PHASES
    ratio: float
    low: float
    high: float
    images_per_s: float
    plain_images_per_s: float
    processes: int
    repeats: int  # pairs that each process timed
    batch_size: int
    threads: int
    precision: str
    machine: Mapping[str, Any]  # MACHINE_FACTS
    measured_at: str  # UTC, ISO 8601
    cores_used_by_others: float  # on average, in the busiest process
    mechanism_code: str  # hash of the mechanism's own code that was timed
    imported_code: str = ""  # of what it imports of `attncli.attention`; records until 30 November 2026 do not say

    @property
    def code(self) -> tuple[str, str]:
        """The hashes of the code that was timed: the mechanism's own, and what it imports."""
        return self.mechanism_code, self.imported_code

    def is_of_code(self, mechanism_code: str, imported_code: str) -> bool:
        """Return whether this code was timed; a record that does not say what it imported is judged by its own code."""
        return self.mechanism_code == mechanism_code and self.imported_code in ("", imported_code)

    @property
    def is_quiet(self) -> bool:
        """Whether other programs left the machine alone meanwhile."""
        return self.cores_used_by_others <= QUIET_CORES

    @property
    def conditions(self) -> tuple[Any, ...]:
        """What two ratios must share to stand in one table."""
        machine = tuple(self.machine.get(name) for name in COMPARED_MACHINE_FACTS)
        return self.network, self.batch_size, self.threads, self.precision, machine


def make_speed_records(
    network: str, attn: str, speed: Speed, machine: Mapping[str, Any], mechanism_code: str, imported_code: str
) -> list[SpeedRecord]:
    """Return the records of both phases of a speed that several processes measured.

    Raises ValueError if one process measured it, or if it does not say when or beside how much other work.
    """
    if speed.processes < 2 or speed.measured_at is None or speed.cores_used_by_others is None:
        raise ValueError(f"{attn}: a shipped speed is of several processes, with its date and the work of others")
    shared: dict[str, Any] = {
        "network": network, "attn": attn, "processes": speed.processes, "repeats": speed.repeats,
        "batch_size": speed.batch_size, "threads": speed.threads, "precision": speed.precision,
        "machine": {name: machine[name] for name in MACHINE_FACTS if machine.get(name) is not None},
        "measured_at": speed.measured_at, "cores_used_by_others": speed.cores_used_by_others,
        "mechanism_code": mechanism_code, "imported_code": imported_code,
    }  # fmt: skip
    return [
        SpeedRecord(
            **shared,
            phase=phase,
            ratio=round(getattr(speed, f"{phase}_ratio"), 4),
            low=round(getattr(speed, f"{phase}_ratio_low"), 4),
            high=round(getattr(speed, f"{phase}_ratio_high"), 4),
            images_per_s=round(getattr(speed, f"{phase}_images_per_s"), 2),
            plain_images_per_s=round(getattr(speed, f"baseline_{phase}_images_per_s"), 2),
        )
        for phase in PHASES
    ]


def replace_speed_records(old: Sequence[SpeedRecord], new: Sequence[SpeedRecord]) -> list[SpeedRecord]:
    """Return all records, the new ones in place of old ones of the same mechanism, phase and conditions."""
    of_new = {(record.conditions, record.attn, record.phase) for record in new}
    kept = [record for record in old if (record.conditions, record.attn, record.phase) not in of_new]
    return sorted([*kept, *new], key=lambda r: (r.network, r.batch_size, r.threads, r.attn, PHASES.index(r.phase)))
