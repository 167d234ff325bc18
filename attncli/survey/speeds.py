"""Speeds for claims: measured when that is asked for, kept beside the runs, and the last figures told otherwise."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attncli.recipe import Recipe
from attncli.records import write_atomically
from attncli.survey import networks
from attncli.survey.evaluate import evaluate, slacks
from attncli.survey.language import SPEED, Quantity
from attncli.survey.networks import Images
from attncli.survey.question import Question, network
from attncli.survey.verdict import Outcome, Part

FILE = "claim-speeds.json"
LEVEL = 0.95


@dataclass(frozen=True)
class Timed:
    """Networks timed in turn: seconds of a step by network key, one for each round; `where` names the machine."""

    train: dict[str, list[float]]
    infer: dict[str, list[float]]
    batch_size: int
    where: str
    when: str

    def value(self, name: str, network: str, i: int) -> float:
        """A quantity of `language.SPEED` in round i."""
        if name == "latency":
            return self.infer[network][i]
        return self.batch_size / (self.train if name == "train_speed" else self.infer)[network][i]

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(next(iter(self.train.values())))


class Speeds:
    """The speeds kept in `runs`; with `measure` they are taken anew."""

    def __init__(self, runs: Path, measure: bool = False) -> None:
        self._file = runs / FILE
        self._measure = measure
        self._known = _read(self._file)
        self._fresh: set[str] = set()

    def timed(self, recipes: Sequence[Recipe], images: Images) -> Timed | None:
        """The networks of these recipes timed together; None where that was not asked for and never done.

        Raises UserError for a network that can't be built.
        """
        named = {networks.key(r.model): r for r in recipes}
        key = json.dumps([sorted(named), images.size, images.classes, images.frames])
        if self._measure and key not in self._fresh:
            self._known[key] = _now(named, images)
            self._fresh.add(key)
            self._save(key)
        return self._known.get(key)

    def decide(self, question: Question) -> Part:
        """What the rounds say about a comparison of speeds; untested where nothing was timed."""
        groups: dict[Images, list[Quantity]] = {}
        for quantity in question.quantities():
            if quantity.name in SPEED:
                groups.setdefault(question.images(quantity), []).append(quantity)
        timed: dict[Images, Timed] = {}
        for images, group in groups.items():
            took = self.timed([networks.recipe(q.network) for q in group], images)
            if took is None:
                return Part(text=question.text, kind="timed", outcome="untested", why="not timed on this machine")
            timed[images] = took
        return _interval(question, timed)

    def _save(self, key: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        entries = _read(self._file) | {key: self._known[key]}
        write_atomically(self._file, json.dumps({k: asdict(v) for k, v in entries.items()}, indent=1) + "\n")


def _read(file: Path) -> dict[str, Timed]:
    try:
        return {key: Timed(**value) for key, value in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _now(named: dict[str, Recipe], images: Images) -> Timed:
    """Measure. Loads torch."""
    from attncli.measure.several import several
    from attncli.model import Shape

    found = several(list(named.values()), Shape(images.classes, (images.size, images.size), images.frames))
    return Timed(
        _columns(named, found.train), _columns(named, found.infer), found.batch_size, _where(found), found.when
    )


def _columns(names: Iterable[str], rows: list[list[float]]) -> dict[str, list[float]]:
    return {name: [row[j] for row in rows] for j, name in enumerate(names)}


def _where(found: Any) -> str:
    here = found.machine
    device = here["gpu"] if found.device != "cpu" and here["gpu"] else f"{here['cpu']}, {here['threads']} threads"
    return f"{device}, torch {here['torch']}, {found.precision}"


def _interval(question: Question, timed: Mapping[Images, Timed]) -> Part:
    """The verdict of the intervals: all slacks above 0, one below, or neither."""
    link, rows = question.link, []
    for i in range(min(t.rounds for t in timed.values())):

        def lookup(quantity: Quantity, i: int = i) -> float:
            if quantity.name not in SPEED:
                return question.exact(quantity)
            return timed[question.images(quantity)].value(quantity.name, network(quantity), i)

        left, right = evaluate(question.left, lookup), evaluate(link.right, lookup)
        rows.append((left, right, left - right, *slacks(question.left, link, lookup)))
    (left, *_), (right, *_), (difference, low, high), *slack = map(median_interval, zip(*rows, strict=True))
    first = next(iter(timed.values()))
    outcome = _outcome(slack)
    return Part(
        text=question.text,
        kind="timed",
        outcome=outcome,
        why="the rounds scatter around the bound" if outcome == "undecided" else "",
        left=left,
        right=right,
        difference=difference,
        low=low,
        high=high,
        n=len(rows),
        measured=f"{first.where}, {first.when[:10]}",
    )


def _outcome(slack: Sequence[tuple[float, float, float]]) -> Outcome:
    """By the median, low and high of each slack."""
    if all(low > 0 for _, low, _ in slack):
        return "holds"
    return "fails" if any(high < 0 for _, _, high in slack) else "undecided"


def median_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """(median, low, high): an interval that holds the true median with the chance `level` whatever the distribution.

    Its ends are order statistics (the sign test turned round); with fewer than six values it is unbounded.
    """
    from scipy import special

    ordered, n = sorted(values), len(values)
    out = [k for k in range(n // 2) if special.bdtr(k, n, 0.5) <= (1 - level) / 2]
    if not out:
        return statistics.median(ordered), -math.inf, math.inf
    return statistics.median(ordered), ordered[out[-1]], ordered[n - 1 - out[-1]]
