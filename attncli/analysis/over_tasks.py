"""Mechanisms over several tasks (datasets, backbones): ranks, probability of improvement, interquartile mean.

One table says what holds for one network on one dataset. Over tasks the question is which mechanism is better in
general. As Demsar (2006) does, each task ranks the variants, and two of them differ if their mean ranks are further
apart than Nemenyi's critical difference. The probability of improvement and the interquartile mean of the differences
are those of Agarwal et al. (2021). Their intervals are percentiles of a bootstrap of the seeds within each task. With
three seeds that of the interquartile mean holds the truth in 77 to 86 % of cases instead of 95. So here the bootstrap
gives a standard error only, for an interval of Student's t, and the improvement has the exact binomial interval.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from attncli.analysis import stats
from attncli.analysis.task_differences import TASK_KEYS, Differences, collect_tasks
from attncli.analysis.variants import group_runs, name_variants
from attncli.attention import NONE
from attncli.errors import UserError, unknown_name_error
from attncli.quantities import format_quantity
from attncli.records import SMALLEST_DIFFERENCE
from attncli.runs import FailedRun, FinishedRun

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000
FEWEST_TASKS = 2


@dataclass(frozen=True, kw_only=True)
class VariantSummary:
    """One variant over all tasks; differences to the plain network are fractions, by seed.

    `improvement` is the chance that a run of it is better than the plain network's with the same seed (ties count
    half). `iqm` is the mean of the middle half of all differences. The intervals are of 95 %, for these tasks; that of
    `iqm` is None if a task has one seed.
    """

    variant: str
    mean_rank: float  # 1 is best; the plain network is ranked too
    improvement: float | None
    improvement_low: float | None
    improvement_high: float | None
    iqm: float
    iqm_low: float | None
    iqm_high: float | None
    attn: str = ""  # the mechanism


@dataclass(frozen=True, kw_only=True)
class TaskComparison:
    """All variants that every task has, the best first, and by how much mean ranks must differ to differ at all."""

    tasks: tuple[str, ...]
    variants: tuple[VariantSummary, ...]
    left_out: tuple[str, ...]  # variants that some task lacks, of which a seed failed, or that are unfinished
    critical_difference: float
    ranked: int = 0  # variants that were ranked together, the plain network among them
    unfinished: tuple[str, ...] = ()  # variants that lack planned seeds in some task
    recipe_choices: tuple[str, ...] = ()  # which of several recipes of a task counts

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def compare_over_tasks(
    runs: Sequence[FinishedRun], over: Sequence[str], failures: Sequence[FailedRun] = ()
) -> TaskComparison:
    """Compare the variants over all tasks that finished runs have.

    Args:
        runs: Finished runs. Of several recipes of one task one counts: that with the most variants, then pairs, then
            epochs. Give those of all mechanisms, and choose those to show afterwards (`choose_mechanisms`): all of
            them are ranked together.
        over: What makes a task, of KEYS.
        failures: Runs that failed. A variant of which a seed failed is left out, and so is one that lacks a planned
            seed: it would be judged at each look, before its plan is finished.

    Raises:
        UserError: An unknown key, fewer than two tasks, or no finished variant that all tasks have.
    """
    for key in over:
        if key not in TASK_KEYS:
            raise unknown_name_error("key of --over", key, TASK_KEYS)
    variants = group_runs(runs)
    collected = collect_tasks(variants, over, failures)
    tasks, unfinished_names = collected.differences, collected.unfinished
    if len(tasks) < FEWEST_TASKS:
        raise UserError(
            f"--over {','.join(over)}: finished runs have {format_quantity(len(tasks), 'task')}",
            "two are needed: train the same mechanisms on another dataset or backbone",
        )
    names = (
        set.intersection(*(set(differences) for differences in tasks.values())) - collected.failed - {*unfinished_names}
    )
    if names <= {NONE}:
        _refuse_empty_comparison(over, unfinished_names)
    ranks = _rank_variants([{name: task[name] for name in names} for task in tasks.values()])
    mechanisms = dict(zip(name_variants(variants), (variant.any_run.result.attn for variant in variants), strict=True))
    summaries = [
        replace(_summarize_variant(name, ranks[name], [task[name] for task in tasks.values()]), attn=mechanisms[name])
        for name in names
    ]
    everywhere = set().union(*tasks.values())
    return TaskComparison(
        tasks=tuple(tasks),
        variants=tuple(sorted(summaries, key=lambda s: (s.mean_rank, s.variant))),
        left_out=tuple(sorted(everywhere - names)),
        critical_difference=compute_critical_difference(len(names), len(tasks)),
        ranked=len(names),
        unfinished=tuple(unfinished_names),
        recipe_choices=collected.recipe_choices,
    )


def _refuse_empty_comparison(over: Sequence[str], unfinished_names: Sequence[str]) -> NoReturn:
    """Raise UserError that says why no variant can be compared over tasks."""
    problem, advice = "no mechanism was trained in every task", "`attncli sweep` trains them"
    if unfinished_names:
        problem = f"no verdict yet: planned seeds are not finished: {', '.join(unfinished_names)}"
        advice = "the sweep that planned them trains the rest"
    raise UserError(f"--over {','.join(over)}: {problem}", advice)


def choose_mechanisms(comparison: TaskComparison, mechanisms: Sequence[str]) -> TaskComparison:
    """Return the comparison with the variants of these mechanisms and the plain network; ranks stay those of all."""
    shown = tuple(variant for variant in comparison.variants if variant.attn in (*mechanisms, NONE))
    return replace(comparison, variants=shown)


def _rank_variants(tasks: Sequence[Differences]) -> dict[str, list[float]]:
    """Return the rank of each variant in each task by its mean difference, 1 for the best, means for ties."""
    ranks: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        means = {name: math.fsum(values) / len(values) for name, values in task.items()}
        for name, mean in means.items():
            better = sum(other > mean + SMALLEST_DIFFERENCE for other in means.values())
            equal = sum(abs(other - mean) <= SMALLEST_DIFFERENCE for other in means.values())
            ranks[name].append(better + (equal + 1) / 2)
    return ranks


def _summarize_variant(name: str, ranks: Sequence[float], tasks: Sequence[Sequence[float]]) -> VariantSummary:
    import numpy as np

    mean_rank = math.fsum(ranks) / len(ranks)
    if name == NONE:
        return VariantSummary(
            variant=name, mean_rank=mean_rank, improvement=None, improvement_low=None, improvement_high=None, iqm=0.0,
            iqm_low=None, iqm_high=None,
        )  # fmt: skip
    own = [np.array(values)[None] for values in tasks]
    improvement = float(np.mean([_count_improvements(sample)[0] for sample in own]))
    iqm = float(compute_interquartile_mean(np.concatenate(own, axis=1))[0])
    improvement_low, improvement_high = find_share_interval(improvement, [len(values) for values in tasks])
    half = _find_iqm_reach(tasks)
    return VariantSummary(
        variant=name,
        mean_rank=mean_rank,
        improvement=improvement,
        improvement_low=improvement_low,
        improvement_high=improvement_high,
        iqm=iqm,
        iqm_low=None if half is None else iqm - half,
        iqm_high=None if half is None else iqm + half,
    )


def find_share_interval(share: float, seeds: Sequence[int]) -> tuple[float, float]:
    """Return the exact binomial interval (Clopper and Pearson 1934) of a mean over tasks of shares of seeds.

    Args:
        share: The mean of the tasks' shares.
        seeds: The number of seeds of each task.
    """
    from scipy import special

    trials = len(seeds) ** 2 / sum(1 / count for count in seeds)  # all seeds, if the tasks have equally many
    wins, tail = share * trials, stats.ALPHA / 2
    low = 0.0 if wins <= 0 else float(special.betaincinv(wins, trials - wins + 1, tail))
    high = 1.0 if wins >= trials else float(special.betaincinv(wins + 1, trials - wins, 1 - tail))
    return low, high


def _find_iqm_reach(tasks: Sequence[Sequence[float]]) -> float | None:
    """Return half the interval of the interquartile mean; None if a task has one seed, or the seeds do not vary.

    The bootstrap draws deviations that are scaled by sqrt(n / (n - 1)), as those of n values from their own mean are
    too small. Student's t has the degrees of freedom of all tasks together.
    """
    import numpy as np

    if min(map(len, tasks)) < 2:
        return None
    rng = np.random.default_rng(0)
    samples = []
    for values in map(np.array, tasks):
        scale = math.sqrt(len(values) / (len(values) - 1))
        drawn = rng.choice(values, (RESAMPLES, len(values)))
        samples.append(values.mean() + scale * (drawn - values.mean()))
    error = float(compute_interquartile_mean(np.concatenate(samples, axis=1)).std(ddof=1))
    freedom = sum(len(values) - 1 for values in tasks)
    return stats.t_critical_value(stats.ALPHA, freedom) * error if error > SMALLEST_DIFFERENCE else None


def _count_improvements(differences: "np.ndarray") -> "np.ndarray":
    """Return the share of positive values in each row (r, n), zeros counted half."""
    import numpy as np

    shares: np.ndarray = (np.sign(differences) / 2 + 0.5).mean(axis=1)
    return shares


def compute_interquartile_mean(values: "np.ndarray") -> "np.ndarray":
    """Return the mean of the middle half of each row (r, n), as scipy.stats.trim_mean cuts it."""
    import numpy as np

    cut = int(0.25 * values.shape[1])
    middle: np.ndarray = np.sort(values, axis=1)[:, cut : values.shape[1] - cut].mean(axis=1)
    return middle


def compute_critical_difference(variants: int, tasks: int, level: float = stats.ALPHA) -> float:
    """Return Nemenyi's critical difference of mean ranks: q sqrt(k (k + 1) / (6 N)), q of the studentized range."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - level, variants, math.inf)) / math.sqrt(2)
    return q * math.sqrt(variants * (variants + 1) / (6 * tasks))
