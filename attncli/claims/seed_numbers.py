"""The seeds of a comparison of accuracies: how many were planned, what they can find, how many more would decide it."""

from collections.abc import Sequence

from attncli.analysis import stats
from attncli.analysis.compare import MARGIN
from attncli.analysis.looks import SeedPlan, read_seed_plan
from attncli.analysis.stats import MeanEstimate
from attncli.attention import NONE
from attncli.claims.verdict import TrainedOutcome
from attncli.runs import FinishedRun

POWER_OF_EACH_SIDE = 0.9  # of the two tests of an equivalence, so that both together have 0.8


def read_variant_plan(runs: Sequence[FinishedRun], declared: int | None) -> SeedPlan:
    """Return the plan behind the runs of a comparison. As in `compare`, that of the plain network does not count.

    Other mechanisms were trained with its runs, before or after, and had plans of their own.
    """
    variant_runs = [run for run in runs if run.recipe.model.attn != NONE] or runs
    return read_seed_plan(((run.recipe.seed, run.result.planned_seeds) for run in variant_runs), declared=declared)


def compute_power(difference: MeanEstimate, plan: SeedPlan, forgiving: bool) -> float | None:
    """Return the chance that as many seeds find a true difference of half a point, at this spread and their level."""
    if not difference.sd:
        return None
    level = plan.choose_level(difference.n) or plan.choose_next_level(difference.n, difference.n)
    return stats.t_test_power(difference.n, difference.sd, MARGIN, 2 * level if forgiving else level)


def plan_seeds(outcome: TrainedOutcome, tests: int) -> tuple[int | None, int | None]:
    """Return the fewest seeds in all, at least and at most, that would decide an undecided part; None if none would.

    They are planned for the smallest difference of interest, `outcome.interest`. Planned on the difference seen they
    would be the more the less there is to find. The level is that of the seeds planned for, divided among the `tests`
    claims that are corrected together.
    """

    def choose_level(seeds: int) -> float:
        return outcome.plan.choose_next_level(outcome.n, seeds) / tests

    if outcome.sd == 0 and outcome.slack:
        sides = 1 if outcome.forgiving else 2
        count = max(stats.seeds_needed_without_spread(choose_level, sides), outcome.n + 1)
        return count, count
    if outcome.sd == 0:
        return outcome.n + 1, None  # equal figures, which one more seed may part
    if not outcome.sd or not outcome.interest:
        return None, None
    low, high = stats.seeds_needed_range(
        outcome.sd,
        outcome.n - 1,
        outcome.interest,
        wanted_power=stats.WANTED_POWER if outcome.tolerance is None else POWER_OF_EACH_SIDE,
        alpha=lambda n: (2 if outcome.forgiving else 1) * choose_level(n),
    )
    return (None if low is None else max(low, outcome.n + 1)), high
