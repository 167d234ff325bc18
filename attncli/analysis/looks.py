"""The level of a test when the number of seeds was planned, and when it was not.

A test at 5 % is one at 5 % once. Who looks, adds seeds, and looks again gets 20 % and more false alarms. So each table
is judged at a level that leaves room for the other looks:

- Planned: the sweep or recipe says how many seeds there will be. Nothing is judged before they are finished. The first
  plan has the level 0.045; if a later sweep plans more seeds, its look has 0.0025, the next 0.00125, and so on. The
  levels of these looks sum to 0.05 (Bonferroni), whatever the results were that made the user plan more.
- Beyond the plan: seeds that no plan had share what is left, at the level rest / (m (m + 1)) for m seeds too many. If
  another plan follows, the levels of both sum to 0.06 at most. Simulated (tests/analysis/audit.py), all looks together
  have less than 5 % false alarms, as they agree with each other.
- Not planned: every number of seeds n from 3 on may be looked at, at the level 0.04 / n. These levels have no bound for
  their sum. Simulated to 100 seeds (tests/analysis/audit.py), all looks together have less than 5 % false alarms.
- Planned after a look: if three seeds or more were finished without a plan, the level is the lower one of both rules.
- Folds: a seed counts when all of its folds are finished. Without a plan one seed is a first look, at 0.04 / 3.
"""

from collections.abc import Iterable
from dataclasses import dataclass

TOTAL_LEVEL = 0.05
FIRST_LEVEL = 0.045
UNPLANNED_LEVEL = 0.04  # divided by the number of seeds
FEWEST_SEEDS = 2  # of a plan that can be judged
FEWEST_UNPLANNED = 3


@dataclass(frozen=True)
class SeedPlan:
    """The numbers of seeds that were planned, one after the other, ascending; empty if none was planned.

    `unplanned` is the number of seeds that no plan had when they were trained.
    """

    steps: tuple[int, ...] = ()
    unplanned: int = 0

    @property
    def planned(self) -> int | None:
        """The number of seeds planned last."""
        return self.steps[-1] if self.steps else None

    def choose_level(self, seeds: int, first_look: int = FEWEST_UNPLANNED) -> float | None:
        """Return the level to judge `seeds` finished seeds at; None if it is too early to judge.

        `first_look` is the fewest seeds that are judged without a plan.
        """
        unplanned_level = _choose_unplanned_level(seeds, first_look)
        if self.planned is None:
            return unplanned_level
        if seeds < self.planned:
            return None
        seeds_beyond = seeds - self.planned  # the plan
        planned_level = self._divide_rest(seeds_beyond) if seeds_beyond else self._choose_step_level()
        had_look_before_plan = self.unplanned - seeds_beyond >= first_look
        if had_look_before_plan and unplanned_level is not None:
            return min(planned_level, unplanned_level)
        return planned_level

    def choose_next_level(self, seeds: int, next_seeds: int) -> float:
        """Return the level at which a plan of `next_seeds` seeds would be judged that follows a look at `seeds`."""
        if self.planned is None:
            return UNPLANNED_LEVEL / next_seeds
        level = self._compute_rest() / 2 if seeds >= self.planned else self._choose_step_level()
        return min(level, UNPLANNED_LEVEL / next_seeds) if self.unplanned >= FEWEST_UNPLANNED else level

    def _choose_step_level(self) -> float:
        """Return the level of the last step of the plan."""
        return FIRST_LEVEL if len(self.steps) == 1 else self._compute_rest()

    def _divide_rest(self, seeds_beyond: int) -> float:
        """Return the level of a look so many seeds beyond the plan; the levels of all such looks sum to the rest."""
        return self._compute_rest() / (seeds_beyond * (seeds_beyond + 1))

    def _compute_rest(self) -> float:
        """Return the part of the level that is left for looks after the last step."""
        return (TOTAL_LEVEL - FIRST_LEVEL) / 2 ** (len(self.steps) - 1)


def _choose_unplanned_level(seeds: int, first_look: int) -> float | None:
    """Return the level of a look at `seeds` seeds without a plan; None if they are too few."""
    return UNPLANNED_LEVEL / (seeds + FEWEST_UNPLANNED - first_look) if seeds >= first_look else None


def read_seed_plan(planned_numbers: Iterable[tuple[int, int | None]], *, declared: int | None = None) -> SeedPlan:
    """Return the plan behind some runs; a plan of one seed, of which nothing can be judged, is none.

    Args:
        planned_numbers: For each run its seed, and how many seeds were planned when it began; None if nothing was.
        declared: A number that the user says was planned before the first run; it stands for runs without a plan.
    """
    numbers = [(seed, declared if number is None else number) for seed, number in planned_numbers]
    steps = sorted({number for _, number in numbers if number is not None and number >= FEWEST_SEEDS})
    unplanned = {seed for seed, number in numbers if number is None or number < FEWEST_SEEDS}
    return SeedPlan(tuple(steps), len(unplanned))
