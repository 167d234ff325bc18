"""Variants with their baseline: differences seed by seed, tested together with all variants of that baseline."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attncli.analysis import stats
from attncli.analysis.conditions import CONDITION_NAMES
from attncli.analysis.difference_verdict import BASELINE, VariantEvidence, choose_level, word_verdict
from attncli.analysis.folds import FoldDesign, read_fold_design
from attncli.analysis.looks import SeedPlan, read_seed_plan
from attncli.analysis.simultaneous import SimultaneousEstimate, compare_with_baseline
from attncli.analysis.variants import BaselineKey, VariantRuns, leave_out_conditions, number_pair
from attncli.runs import FailedRun


@dataclass(frozen=True)
class PairedVariant:
    """A variant with its baseline and everything that is known of their difference.

    `folds` is None if the runs are not of folds.
    """

    runs: VariantRuns
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
        return self.baseline is self.runs

    @property
    def missing_seeds(self) -> tuple[int, ...]:
        """Seeds that the baseline has and the variant neither finished nor failed."""
        if self.baseline is None:
            return ()
        return tuple(sorted(self.baseline.runs.keys() - self.runs.runs.keys() - set(self.failed_seeds)))

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
            failed_seeds=self.failed_seeds,
            plan=self.plan,
            estimate=self.joint,
            family=self.family,
            seeds=_count_seeds(self.differences, self.folds),
            folds=None if self.folds is None else self.folds.count,
        )
        return word_verdict(evidence, margin)


def pair_variants(
    arms: Sequence[VariantRuns], planned_seeds: int | None, failures: Sequence[FailedRun]
) -> list[PairedVariant]:
    """Return each variant with its baseline, and the tests of each baseline's variants."""
    baselines = {arm.base: arm for arm in arms if arm.is_plain}
    failed_seeds = _group_failed_seeds(failures)
    families: dict[BaselineKey, list[int]] = defaultdict(list)
    for i, arm in enumerate(arms):
        families[arm.base].append(i)
    variants: dict[int, PairedVariant] = {}
    for base, members in families.items():
        baseline = baselines.get(base)
        unpaired = "" if baseline else _explain_missing_baseline(base, baselines)
        compared = [i for i in members if baseline is not None and arms[i] is not baseline]
        diffs = {i: arms[i].subtract_baseline(baseline) for i in compared if baseline is not None}
        plans = {i: _read_plan(arms[i], planned_seeds) for i in members}
        folds = read_fold_design(arms[members[0]].any_run.recipe)  # the same for all, as they share the recipe
        units = {
            i: diffs[i] if folds is None else folds.average_by_cut(folds.keep_whole_seeds(diffs[i])) for i in compared
        }
        overlap = 0.0 if folds is None else folds.overlap
        levels = [_choose_level(plans[i], diffs[i], folds) or stats.ALPHA for i in compared]
        joint = dict(zip(compared, compare_with_baseline([units[i] for i in compared], levels, overlap), strict=True))
        ps = {i: stats.t_test(list(units[i].values()), overlap=overlap) for i in compared}
        holm = dict(zip(compared, stats.holm([ps[i] for i in compared]), strict=True))
        for i in members:
            variants[i] = PairedVariant(
                runs=arms[i],
                baseline=baseline,
                differences=diffs.get(i, {}),
                plan=plans[i],
                failed_seeds=tuple(sorted(failed_seeds[arms[i].any_run.result.group] - arms[i].runs.keys())),
                joint=joint.get(i),
                p=ps.get(i),
                p_holm=holm.get(i),
                family=sum(estimate is not None for estimate in joint.values()),
                unpaired=unpaired,
                folds=folds,
            )
    return [variants[i] for i in range(len(arms))]


def _count_seeds(differences: Mapping[int, float], folds: FoldDesign | None) -> int:
    """Return the number of seeds that a plan counts: pairs, or seeds of which every fold is paired."""
    return len(differences) if folds is None else folds.count_whole_seeds(differences)


def _choose_level(plan: SeedPlan, differences: Mapping[int, float], folds: FoldDesign | None) -> float | None:
    return choose_level(plan, _count_seeds(differences, folds), None if folds is None else folds.count)


def _group_failed_seeds(failures: Sequence[FailedRun]) -> dict[str, set[int]]:
    """Return the seeds that failed by group, as numbers of pairs."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for failure in failures:
        seeds[failure.group].add(number_pair(failure.recipe))
    return seeds


def _read_plan(arm: VariantRuns, declared: int | None) -> SeedPlan:
    numbers = ((run.recipe.seed, run.result.planned_seeds) for run in arm.runs.values())
    return read_seed_plan(numbers, declared=declared)


def _explain_missing_baseline(base: BaselineKey, baselines: Mapping[BaselineKey, VariantRuns]) -> str:
    """Return why a variant has no baseline: none was trained, or under other conditions."""
    for other in baselines:
        if leave_out_conditions(other) == leave_out_conditions(base):
            own, others = dict(base), dict(other)
            differing = [name for name in CONDITION_NAMES if own[name] != others[name]]
            here = " ".join(f"{name}={own[name]}" for name in differing)
            there = " ".join(f"{name}={others[name]}" for name in differing)
            return f"no baseline: trained with {here}, the plain network with {there}"
    return "no baseline, run the same recipe with --attn none"
