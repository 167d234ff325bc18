"""Speeds for claims: measured on request and kept beside the runs; otherwise the last figures are used."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attncli.analysis.count_cache import compute_state
from attncli.analysis.network_key import ImageSpec, make_network_key
from attncli.claims import networks
from attncli.claims.comparison import ClaimComparison, find_network_key
from attncli.claims.evaluate import compute_slacks, evaluate_expression
from attncli.claims.language import SPEED, Quantity
from attncli.claims.verdict import Outcome, TimedOutcome
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.records import name_speed_limit
from attncli.system import gpu_support, hardware
from attncli.system.files import write_atomically
from attncli.system.median_interval import compute_median_interval

SPEEDS_FILE = "claim-speeds.json"
MAX_AGE_S = 24 * 3600.0  # of timings that decide a claim


@dataclass(frozen=True)
class NetworkTimings:
    """Networks timed in turn: seconds of a step by network key, one per round; `where` names the machine.

    `machine`, `code` and `when` say whether they are still true: only timings of this machine, of the present code and
    of the last day decide.
    """

    train: dict[str, list[float]]
    infer: dict[str, list[float]]
    batch_size: int
    where: str
    when: str
    machine: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    train_host_share: dict[str, float | None] = field(default_factory=dict)  # by network key
    infer_host_share: dict[str, float | None] = field(default_factory=dict)
    cores_used_by_others: float | None = None  # on average meanwhile
    device: str = ""

    @property
    def is_current(self) -> bool:
        """Whether they are of this machine, its device that is asked for, the present code and the last day."""
        if self.machine.get("gpu") and (self.device == "cpu") != (gpu_support.read_requested_device() == "cpu"):
            return False
        if self.code != compute_state() or not hardware.is_this_machine(self.machine):
            return False
        return (datetime.now(UTC) - datetime.fromisoformat(self.when)).total_seconds() <= MAX_AGE_S

    def read_quantity(self, name: str, network: str, i: int) -> float:
        """Return a quantity of `language.SPEED` in round i."""
        if name == "latency":
            return self.infer[network][i]
        return self.batch_size / (self.train if name == "train_speed" else self.infer)[network][i]

    def name_limit(self, name: str, network: str) -> str | None:
        """Return what limits a quantity of `language.SPEED`: `host`, `device`, or None if that is unknown."""
        shares = self.train_host_share if name == "train_speed" else self.infer_host_share
        return name_speed_limit(shares.get(network))

    @property
    def round_count(self) -> int:
        """The number of rounds."""
        return len(next(iter(self.train.values())))


class SpeedStore:
    """The speeds kept in `runs`; with `measure` they are measured again."""

    def __init__(self, runs: Path, measure: bool = False) -> None:
        self._file = runs / SPEEDS_FILE
        self._measure = measure
        self._known = _read_timings(self._file)
        self._fresh: set[str] = set()

    def find_timings(self, recipes: Sequence[Recipe], images: ImageSpec) -> NetworkTimings | None:
        """Return the timings of these recipes' networks, timed together; None if that was not requested and never done
        on this machine with this code in the last day.

        Raises UserError for a network that cannot be built.
        """
        named = {make_network_key(r.model): r for r in recipes}
        key = json.dumps([sorted(named), images.size, images.classes, images.frames])
        if self._measure and key not in self._fresh:
            self._known[key] = replace(_time_now(named, images), code=compute_state())
            self._fresh.add(key)
            self._save_entry(key)
        timings = self._known.get(key)
        return timings if timings is not None and (key in self._fresh or timings.is_current) else None

    def decide_speed(self, comparison: ClaimComparison) -> TimedOutcome:
        """Decide a comparison of speeds by its rounds; untested if nothing was timed."""
        groups: dict[ImageSpec, list[Quantity]] = {}
        for quantity in comparison.list_quantities():
            if quantity.name in SPEED:
                groups.setdefault(comparison.images(quantity), []).append(quantity)
        timed: dict[ImageSpec, NetworkTimings] = {}
        for images, group in groups.items():
            timings = self.find_timings([networks.make_recipe(q.network) for q in group], images)
            if timings is None:
                return TimedOutcome(
                    text=comparison.text,
                    outcome="untested",
                    why="not timed on this machine with this code in the last day",
                )
            timed[images] = timings
        return _make_timed_outcome(comparison, timed)

    def _save_entry(self, key: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        entries = _read_timings(self._file) | {key: self._known[key]}
        write_atomically(self._file, json.dumps({k: asdict(v) for k, v in entries.items()}, indent=1) + "\n")


def _read_timings(file: Path) -> dict[str, NetworkTimings]:
    """Return the timings in a file by key; entries of another version of the record are skipped."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = {key: _parse_timings(value) for key, value in tree.items()} if isinstance(tree, dict) else {}
    return {key: timings for key, timings in entries.items() if timings is not None}


def _parse_timings(entry: Any) -> NetworkTimings | None:
    try:
        return NetworkTimings(**entry)
    except TypeError:
        return None


def _time_now(named: dict[str, Recipe], images: ImageSpec) -> NetworkTimings:
    """Time the networks. Loads torch."""
    from attncli.measure.several import time_networks
    from attncli.model import InputSpec

    timed_rounds = time_networks(
        list(named.values()), InputSpec(images.classes, (images.size, images.size), images.frames)
    )
    return NetworkTimings(
        _seconds_by_network(named, timed_rounds.train),
        _seconds_by_network(named, timed_rounds.infer),
        timed_rounds.batch_size,
        _format_device(timed_rounds),
        timed_rounds.when,
        machine=timed_rounds.machine,
        train_host_share=dict(zip(named, timed_rounds.train_host_shares, strict=True)),
        infer_host_share=dict(zip(named, timed_rounds.infer_host_shares, strict=True)),
        cores_used_by_others=timed_rounds.cores_used_by_others,
        device=timed_rounds.device,
    )


def _seconds_by_network(names: Iterable[str], rows: list[list[float]]) -> dict[str, list[float]]:
    return {name: [row[j] for row in rows] for j, name in enumerate(names)}


def _format_device(timed_rounds: Any) -> str:
    machine = timed_rounds.machine
    device = (
        machine["gpu"]
        if timed_rounds.device != "cpu" and machine["gpu"]
        else f"{machine['cpu']}, {format_quantity(machine['threads'], 'thread')}"
    )
    return f"{device}, torch {machine['torch']}, {timed_rounds.precision}"


def _make_timed_outcome(comparison: ClaimComparison, timed: Mapping[ImageSpec, NetworkTimings]) -> TimedOutcome:
    """Decide by the intervals of the slacks: all above 0, one below, or neither."""
    rounds = [
        _evaluate_round(comparison, timed, i) for i in range(min(timings.round_count for timings in timed.values()))
    ]
    left, right, difference, *slacks = map(compute_median_interval, zip(*rounds, strict=True))
    first_timings = next(iter(timed.values()))
    outcome = _decide_by_slacks(slacks)
    return TimedOutcome(
        text=comparison.text,
        outcome=outcome,
        why="the rounds scatter around the bound" if outcome == "undecided" else "",
        left=left[0],
        right=right[0],
        difference=difference[0],
        link=comparison.link,
        low=difference[1],
        high=difference[2],
        n=len(rounds),
        measured=f"{first_timings.where}, {first_timings.when[:10]}",
        limit=_find_limit(comparison, timed),
        cores_used_by_others=max((t.cores_used_by_others or 0.0 for t in timed.values()), default=0.0),
    )


def _evaluate_round(
    comparison: ClaimComparison, timed: Mapping[ImageSpec, NetworkTimings], i: int
) -> tuple[float, ...]:
    """Return the left side in round i, the right side, their difference, and the slacks."""

    def read_value(quantity: Quantity) -> float:
        if quantity.name not in SPEED:
            return comparison.exact(quantity)
        return timed[comparison.images(quantity)].read_quantity(quantity.name, find_network_key(quantity), i)

    left = evaluate_expression(comparison.left, read_value)
    right = evaluate_expression(comparison.link.right, read_value)
    return left, right, left - right, *compute_slacks(comparison.left, comparison.link, read_value)


def _find_limit(comparison: ClaimComparison, timed: Mapping[ImageSpec, NetworkTimings]) -> str | None:
    """Return `host` if the host limits one of the speeds compared, `device` if none, None if that is unknown."""
    limits = {
        timed[comparison.images(quantity)].name_limit(quantity.name, find_network_key(quantity))
        for quantity in comparison.list_quantities()
        if quantity.name in SPEED
    }
    return next((limit for limit in ("host", "device") if limit in limits), None)


def _decide_by_slacks(slacks: Sequence[tuple[float, float, float]]) -> Outcome:
    """Decide by the median, low and high of each slack."""
    if all(low > 0 for _, low, _ in slacks):
        return "holds"
    return "fails" if any(high < 0 for _, _, high in slacks) else "undecided"
