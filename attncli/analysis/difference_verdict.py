"""Word what the differences of a variant to its baseline say, and never more than they say."""

from dataclasses import dataclass

from attncli.analysis import stats
from attncli.analysis.folds import name_pair
from attncli.analysis.looks import SeedPlan
from attncli.analysis.simultaneous import SimultaneousEstimate
from attncli.quantities import format_numbers, format_quantity

BASELINE = "baseline"
ALTERNATIVE_PRECISION = 3  # digits of a number of points


@dataclass(frozen=True, kw_only=True)
class VariantEvidence:
    """What is known of one variant: pairs of seeds, finished and failed seeds, plan, level and estimate.

    `seeds` is the number of seeds that the plan counts: of folds those with every fold, `folds` of them per seed.
    """

    pairs: int
    finished: int  # seeds, those that the baseline lacks too; of folds, their number
    failed_seeds: tuple[int, ...]
    plan: SeedPlan
    estimate: SimultaneousEstimate | None
    family: int  # variants tested together
    seeds: int
    folds: int | None = None


def word_verdict(evidence: VariantEvidence, margin: float) -> str:
    """Return the verdict on a variant that has a baseline; `margin` is the smallest difference of interest."""
    if evidence.failed_seeds:
        failed, folds = evidence.failed_seeds, evidence.folds
        trained = evidence.finished + len(failed)
        if folds is not None:
            names = ", ".join(name_pair(number, folds) for number in failed)
            return f"not judged: {len(failed)} of {format_quantity(trained, 'fold')} failed ({names})"
        names = format_numbers("seed", failed)
        return f"not judged: {len(failed)} of {format_quantity(trained, 'seed')} failed ({names})"
    if not evidence.pairs:
        return "no seed in common with the baseline"
    if evidence.pairs == 1:
        return "undecided, one seed cannot tell an effect from chance"
    if evidence.folds is not None and not evidence.seeds:
        return f"no verdict yet: no seed has all of its {evidence.folds} folds"
    level = choose_level(evidence.plan, evidence.seeds, evidence.folds)
    if level is None:
        return _word_too_early(evidence)
    assert evidence.estimate is not None
    return word_estimate(evidence.estimate, level, margin) or _word_undecided(evidence, margin)


def choose_level(plan: SeedPlan, seeds: int, folds: int | None) -> float | None:
    """Return the level at which a number of seeds is judged; None if it is too early.

    Without a plan the first seed of folds is a first look, as the third of other seeds is.
    """
    return plan.choose_level(seeds) if folds is None else plan.choose_level(seeds, first_look=1)


def word_estimate(estimate: SimultaneousEstimate, level: float, margin: float) -> str | None:
    """Return the verdict that the interval decides, or None if it decides nothing."""
    low, high = estimate.low, estimate.high
    if estimate.p < level:
        direction, end = ("better", high) if estimate.mean > 0 else ("worse", low)
        farthest = estimate.mean if end is None else end  # without any spread there is no interval
        is_small = abs(farthest) < margin
        return f"{direction}, by less than {format_margin(margin)}" if is_small else direction
    if low is not None and high is not None and max(-low, high) < margin:
        return f"no difference of {format_margin(margin)} or more"
    return None


def _word_too_early(evidence: VariantEvidence) -> str:
    if evidence.plan.planned is None:
        return "undecided, two seeds are too few unless two were planned"
    return f"no verdict yet: {evidence.plan.planned} seeds are planned, {evidence.seeds} finished"


def _word_undecided(evidence: VariantEvidence, margin: float) -> str:
    estimate = evidence.estimate
    if estimate is None or not estimate.spread:
        return "undecided, needs more seeds"
    if evidence.folds is not None:
        return f"undecided over {evidence.folds} folds"

    def choose_level_of_plan(seeds: int) -> float:
        return evidence.plan.choose_next_level(evidence.pairs, seeds) / evidence.family

    low, high = stats.seeds_needed_range(
        estimate.spread, estimate.degrees_of_freedom, margin, alpha=choose_level_of_plan
    )
    if low is None:
        return f"undecided, the seeds scatter too much to find {format_margin(margin)}"
    at_least = max(low, evidence.pairs + 1)
    if high is None:
        return f"undecided, {at_least:,} or more seeds find {format_margin(margin)}"
    at_most = max(high, at_least)
    count = f"{at_least:,}" if at_least == at_most else f"{at_least:,} to {at_most:,}"
    return f"undecided, {count} seeds in all would find {format_margin(margin)}"


def format_margin(fraction: float) -> str:
    """Format a difference of accuracies in points."""
    value = f"{100 * fraction:.{ALTERNATIVE_PRECISION}g}"
    return f"{value} point{'s' * (value != '1')}"
