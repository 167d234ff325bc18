"""Variants with their baseline: differences seed by seed, tested together with all variants of that baseline."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attncli.analysis import stats
from attncli.analysis.conditions import CONDITION_NAMES, NETWORK, UNKNOWN
from attncli.analysis.difference_verdict import BASELINE, VariantEvidence, choose_level, word_verdict
from attncli.analysis.failures import FailuresByRecipe, group_failures, select_failures
from attncli.analysis.folds import FoldDesign, read_fold_design
from attncli.analysis.looks import SeedPlan, read_seed_plan
from attncli.analysis.run_keys import BaselineKey, leave_out_conditions, number_pair
from attncli.analysis.simultaneous import SimultaneousEstimate, compare_with_baseline
from attncli.analysis.variants import VariantRuns
from attncli.runs import FailedRun


@dataclass(frozen=True)
class PairedVariant:
    """A variant with its baseline and everything that is known of their difference.

    `folds` is None if the runs are not of folds.
    """

    variant: VariantRuns
    baseline: VariantRuns | None
    differences: Mapping[int, float]
    plan: SeedPlan
    failed_seeds: tuple[int, ...]
    joint: SimultaneousEstimate | None
    p: float | None
    p_holm: float | None
    family: int
    unpaired: str  # why there is no baseline, "" if there is one
    folds: FoldDesign | None

    @property
    def is_baseline(self) -> bool:
        """Whether it is the plain network itself."""
        return self.baseline is self.variant

    @property
    def missing_seeds(self) -> tuple[int, ...]:
        """Seeds that the baseline has and the variant neither finished nor failed."""
        if self.baseline is None:
            return ()
        finished_seeds = self.variant.runs_by_seed.keys()
        return tuple(sorted(self.baseline.runs_by_seed.keys() - finished_seeds - set(self.failed_seeds)))

    @property
    def level(self) -> float | None:
        """The level at which its differences are judged, or None if it is too early."""
        return _choose_level(self.plan, self.differences, self.folds)

    def word_verdict(self, margin: float) -> str:
        """Return what the differences to the baseline say, or what to do if they say nothing."""
        if self.is_baseline:
            return BASELINE
        if self.unpaired:
            return self.unpaired
        evidence = VariantEvidence(
            pairs=len(self.differences),
            finished=len(self.variant.runs_by_seed),
            failed_seeds=self.failed_seeds,
            plan=self.plan,
            estimate=self.joint,
            family=self.family,
            seeds=_count_seeds(self.differences, self.folds),
            folds=None if self.folds is None else self.folds.count,
        )
        return word_verdict(evidence, margin)


def pair_variants(
    variants: Sequence[VariantRuns], planned_seeds: int | None, failures: Sequence[FailedRun]
) -> list[PairedVariant]:
    """Return each variant with its baseline, and the tests of each baseline's variants."""
    baselines = {variant.base: variant for variant in variants if variant.is_plain}
    failures_by_recipe = group_failures(failures)
    members_by_base: dict[BaselineKey, list[int]] = defaultdict(list)
    for number, variant in enumerate(variants):
        members_by_base[variant.base].append(number)
    paired_variants: dict[int, PairedVariant] = {}
    for base, members in members_by_base.items():
        unpaired = "" if base in baselines else _explain_missing_baseline(base, baselines)
        family = [variants[number] for number in members]
        paired = _pair_family(family, baselines.get(base), unpaired, planned_seeds, failures_by_recipe)
        paired_variants |= dict(zip(members, paired, strict=True))
    return [paired_variants[number] for number in range(len(variants))]


def _pair_family(
    variants: Sequence[VariantRuns],
    baseline: VariantRuns | None,
    unpaired: str,
    planned_seeds: int | None,
    failures: FailuresByRecipe,
) -> list[PairedVariant]:
    """Return the variants of one baseline, which is among them, tested together; without one there are no differences.

    Args:
        variants: All variants whose runs share the recipe but for the mechanism.
        baseline: The plain network among them, or None.
        unpaired: Why there is none.
        planned_seeds: As `pair_variants` takes it.
        failures: The runs that failed.
    """
    folds = read_fold_design(variants[0].any_run.recipe)  # the same for all, as they share the recipe
    overlap = 0.0 if folds is None else folds.overlap
    plans = [_read_plan(variant, planned_seeds) for variant in variants]
    differences = [
        {} if baseline is None or variant is baseline else variant.subtract_baseline(baseline) for variant in variants
    ]
    levels = [_choose_level(plan, diff, folds) or stats.ALPHA for plan, diff in zip(plans, differences, strict=True)]
    tested = [diff if folds is None else folds.average_by_cut(folds.keep_whole_seeds(diff)) for diff in differences]
    estimates = compare_with_baseline(tested, levels, overlap)
    p_values = [stats.t_test(list(diff.values()), overlap=overlap) for diff in tested]
    corrected_p_values = stats.holm(p_values)
    return [
        PairedVariant(
            variant=variant,
            baseline=baseline,
            differences=differences[k],
            plan=plans[k],
            failed_seeds=_find_failed_seeds(variant, failures),
            joint=estimates[k],
            p=p_values[k],
            p_holm=corrected_p_values[k],
            family=sum(estimate is not None for estimate in estimates),
            unpaired=unpaired,
            folds=folds,
        )
        for k, variant in enumerate(variants)
    ]


def count_lacking_seeds(variant: VariantRuns, baseline: VariantRuns) -> int:
    """Return how many of the planned seeds are not finished, or lack the plain network's run: 0 without a plan."""
    folds = read_fold_design(variant.any_run.recipe)
    planned = _read_plan(variant, None).planned or 0
    return max(0, planned - _count_seeds(variant.subtract_baseline(baseline), folds))


def _count_seeds(differences: Mapping[int, float], folds: FoldDesign | None) -> int:
    """Return the number of seeds that a plan counts: pairs, or seeds of which every fold is paired."""
    return len(differences) if folds is None else folds.count_whole_seeds(differences)


def _choose_level(plan: SeedPlan, differences: Mapping[int, float], folds: FoldDesign | None) -> float | None:
    return choose_level(plan, _count_seeds(differences, folds), None if folds is None else folds.count)


def _find_failed_seeds(variant: VariantRuns, failures: FailuresByRecipe) -> tuple[int, ...]:
    """Return the seeds of a variant that failed and that it did not finish, as numbers of pairs."""
    failed_runs = select_failures(failures, variant.runs_by_seed.values(), dict(variant.base))
    return tuple(sorted({number_pair(run.recipe) for run in failed_runs} - variant.runs_by_seed.keys()))


def _read_plan(variant: VariantRuns, declared: int | None) -> SeedPlan:
    numbers = ((run.recipe.seed, run.result.planned_seeds) for run in variant.runs_by_seed.values())
    return read_seed_plan(numbers, declared=declared)


def _explain_missing_baseline(base: BaselineKey, baselines: Mapping[BaselineKey, VariantRuns]) -> str:
    """Return why a variant has no baseline: none was trained, or under other conditions, or by other files."""
    for other in baselines:
        if leave_out_conditions(other) == leave_out_conditions(base):
            own, others = ({NETWORK: UNKNOWN, **dict(key)} for key in (base, other))
            differing = [name for name in (*CONDITION_NAMES, NETWORK) if own[name] != others[name]]
            own_text = " ".join(f"{name}={own[name]}" for name in differing)
            plain_text = " ".join(f"{name}={others[name]}" for name in differing)
            return f"no baseline: trained with {own_text}, the plain network with {plain_text}"
    return "no baseline, run the same recipe with --attn none"
