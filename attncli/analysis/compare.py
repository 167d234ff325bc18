"""Finished runs side by side: the mean of each variant over seeds, and its difference to the baseline, seed by seed.

A variant's baseline is the plain network trained with the same recipe on the same images under the same conditions
(`attncli.analysis.conditions`). All variants of one baseline are tested together (`attncli.analysis.simultaneous`), at
a level that follows from the planned number of seeds (`attncli.analysis.looks`). If there is no baseline, or there are
too few seeds, the verdict says so.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attncli.analysis import stats
from attncli.analysis.conditions import CONDITION_NAMES, describe_part
from attncli.analysis.difference_verdict import BASELINE, VariantEvidence, choose_level, word_verdict
from attncli.analysis.folds import FoldDesign, read_fold_design
from attncli.analysis.image_error import (
    NORMAL_QUANTILE,
    DisagreementTest,
    compare_disagreements,
    estimate_image_error,
)
from attncli.analysis.looks import SeedPlan, read_seed_plan
from attncli.analysis.simultaneous import SimultaneousEstimate, compare_with_baseline
from attncli.analysis.stats import MeanEstimate
from attncli.analysis.variants import (
    BaselineKey,
    VariantRuns,
    group_runs,
    leave_out_conditions,
    list_recipe_differences,
    name_variants,
    number_pair,
)
from attncli.attention import NONE
from attncli.dataset_catalog import find_properties
from attncli.errors import UserError
from attncli.recipe import Data
from attncli.runs import FailedRun, FinishedRun

MARGIN = 0.005  # top-1 as a fraction: smaller differences are of no interest


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One variant over its seeds; accuracies and their differences are fractions, ratios variant over baseline.

    `recipe` names the keys in which the recipes of this table differ. `difference` is the mean difference to the
    baseline over the seeds that both have, or None if there are none. `p` is its p value alone, and `p_holm` is
    corrected for all tests of the table. The verdict rests on `joint`, the estimate together with all other variants
    of the table, at the level `level`; `family` is their number. `unpaired` says why there is no difference.
    """

    dataset: str
    backbone: str
    variant: str
    attn: str
    category: str
    recipe: str
    seeds: tuple[int, ...]
    accuracy: MeanEstimate
    difference: MeanEstimate | None
    p: float | None
    p_holm: float | None
    verdict: str
    params: float | None
    params_added: float | None
    params_pct: float | None
    macs: float | None
    macs_pct: float | None
    train_ratio: float | None
    infer_ratio: float | None
    train_images_per_s: float | None
    infer_images_per_s: float | None
    group: str
    run_ids: tuple[str, ...]
    joint: SimultaneousEstimate | None = None
    level: float | None = None
    family: int = 0
    planned_seeds: int | None = None
    failed_seeds: tuple[int, ...] = ()
    missing_seeds: tuple[int, ...] = ()
    part: str = ""  # of the dataset, if not all of it was used
    test_images: int | None = None
    image_error: float | None = None  # standard error of the difference by the choice of test images
    disagreement: DisagreementTest | None = None  # of the networks of a single seed
    top5: MeanEstimate | None = None  # None if no run recorded it
    macro_f1: MeanEstimate | None = None  # likewise
    folds: int | None = None  # if the runs are of k folds; intervals and tests are then those of analysis.folds
    train_limit: str | None = None  # on CUDA: whether `host` or `device` limits the speeds behind `train_ratio`
    infer_limit: str | None = None
    epochs: int | None = None  # of the recipe
    precision: str | None = None  # in which it was trained
    image_size: int | None = None  # side of square images in pixels, None if it is not known here
    images: str = ""  # the dataset; for the user's own images the name of their folder
    starts_by_recipe: bool = False  # whether model.zero_init_residual says how residual branches start

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds per image of inference in the timed batches, or None if it was not timed."""
        return 1000 / self.infer_images_per_s if self.infer_images_per_s else None

    @property
    def reach_with_images(self) -> float | None:
        """Half the interval of the difference if the test images were drawn again too, or None if it is unknown."""
        if self.joint is None or self.joint.high is None or self.image_error is None:
            return None
        return math.hypot(self.joint.high - self.joint.mean, NORMAL_QUANTILE * self.image_error)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and CSV, the two estimates flat."""
        nested = ("accuracy", "difference", "seeds", "joint", "disagreement", "top5", "macro_f1", "starts_by_recipe")
        values = {name: value for name, value in vars(self).items() if name not in nested}
        leading = {name: values.pop(name) for name in ("dataset", "backbone", "variant", "attn", "category", "recipe")}
        return {
            **leading,
            "n": self.accuracy.n,
            "seeds": self.seeds,
            "top1": self.accuracy.mean,
            "top1_sd": self.accuracy.sd,
            "top1_low": self.accuracy.low,
            "top1_high": self.accuracy.high,
            "pairs": self.difference.n if self.difference else 0,
            "diff": self.difference.mean if self.difference else None,
            "diff_sd": self.difference.sd if self.difference else None,
            "diff_low": self.difference.low if self.difference else None,
            "diff_high": self.difference.high if self.difference else None,
            **values,
            "p_joint": self.joint.p if self.joint else None,
            "diff_joint_low": self.joint.low if self.joint else None,
            "diff_joint_high": self.joint.high if self.joint else None,
            "diff_reach_with_images": self.reach_with_images,
            "top5": self.top5.mean if self.top5 else None,
            "macro_f1": self.macro_f1.mean if self.macro_f1 else None,
            "macro_f1_sd": self.macro_f1.sd if self.macro_f1 else None,
            "top5_sd": self.top5.sd if self.top5 else None,
            "top5_low": self.top5.low if self.top5 else None,
            "top5_high": self.top5.high if self.top5 else None,
            "latency_ms": self.latency_ms,
            "mcnemar_won": self.disagreement.won if self.disagreement else None,
            "mcnemar_lost": self.disagreement.lost if self.disagreement else None,
            "mcnemar_p": self.disagreement.p if self.disagreement else None,
        }


@dataclass(frozen=True)
class _PairedVariant:
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


def compare_variants(
    runs: Sequence[FinishedRun],
    *,
    margin: float = MARGIN,
    planned_seeds: int | None = None,
    failures: Sequence[FailedRun] = (),
) -> list[ComparisonRow]:
    """Return one row per variant, baselines before what is compared with them.

    Give all runs, and choose the rows to show afterwards: the variants that are tested together are all variants of a
    baseline, whatever is shown.

    Args:
        runs: Finished runs; those that were not tested are skipped. Of equal seeds of a variant the first counts.
        margin: The smallest difference of interest, as a fraction.
        planned_seeds: How many seeds were planned before the first run, for runs that do not say so themselves.
        failures: Runs that failed. Their seeds are shown, and a variant with failed seeds is not judged.

    Raises:
        UserError: The margin is none.
    """
    if not 0 < margin <= 1:
        raise UserError(f"margin: {100 * margin:g} points are not allowed", "allowed: above 0, up to 100")
    arms = group_runs(runs)
    variants = _pair_variants(arms, planned_seeds, failures)
    names, recipes = name_variants(arms), list_recipe_differences(arms)
    rows = [
        _make_comparison_row(variant, name, recipe, margin)
        for variant, name, recipe in zip(variants, names, recipes, strict=True)
    ]
    return sorted(rows, key=lambda r: (r.images, r.backbone, r.recipe, r.attn != NONE, -r.accuracy.mean, r.variant))


def _pair_variants(
    arms: Sequence[VariantRuns], planned_seeds: int | None, failures: Sequence[FailedRun]
) -> list[_PairedVariant]:
    """Return each variant with its baseline, and the tests of each baseline's variants."""
    baselines = {arm.base: arm for arm in arms if arm.is_plain}
    failed_seeds = _group_failed_seeds(failures)
    families: dict[BaselineKey, list[int]] = defaultdict(list)
    for i, arm in enumerate(arms):
        families[arm.base].append(i)
    variants: dict[int, _PairedVariant] = {}
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
            variants[i] = _PairedVariant(
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


def _make_comparison_row(variant: _PairedVariant, name: str, recipe: str, margin: float) -> ComparisonRow:
    arm, run = variant.runs, variant.runs.any_run
    diffs, folds = variant.differences, variant.folds
    whole = diffs if folds is None else folds.keep_whole_seeds(diffs)  # those that the test has
    is_tested = variant.joint is not None
    image_error, disagreement = _read_image_evidence(variant)
    return ComparisonRow(
        dataset=run.dataset,
        images=run.images,
        backbone=run.recipe.model.backbone_label,
        variant=name,
        attn=run.result.attn,
        category=run.result.category,
        recipe=recipe,
        seeds=tuple(arm.top1_by_seed()),
        accuracy=_clip_accuracy(_estimate_over_pairs(arm.top1_by_seed(), folds)),
        difference=_estimate_over_pairs(whole, folds) if whole else None,
        p=variant.p,
        p_holm=variant.p_holm,
        verdict=variant.word_verdict(margin),
        params=arm.median_of(lambda r: r.params),
        params_added=arm.median_of(lambda r: r.count_added("params")),
        params_pct=arm.median_of(lambda r: r.compute_overhead("params")),
        macs=arm.median_of(lambda r: r.macs),
        macs_pct=arm.median_of(lambda r: r.compute_overhead("macs")),
        train_ratio=arm.median_ratio(lambda r: r.train_ratio),
        infer_ratio=arm.median_ratio(lambda r: r.infer_ratio),
        train_images_per_s=arm.median_of(lambda r: r.train_images_per_s),
        infer_images_per_s=arm.median_of(lambda r: r.infer_images_per_s),
        group=run.result.group,
        run_ids=tuple(run.reference for _, run in sorted(arm.runs.items())),
        joint=variant.joint,
        level=_choose_level(variant.plan, diffs, folds) if is_tested else None,
        family=variant.family,
        planned_seeds=variant.plan.planned,
        failed_seeds=variant.failed_seeds,
        missing_seeds=variant.missing_seeds,
        part=describe_part(run.recipe),
        test_images=arm.test_images,
        image_error=image_error,
        disagreement=disagreement,
        top5=_estimate_figure(arm, "test_top5", folds),
        macro_f1=_estimate_figure(arm, "test_macro_f1", folds),
        folds=None if folds is None else folds.count,
        train_limit=arm.find_limit("train_limit"),
        infer_limit=arm.find_limit("infer_limit"),
        epochs=run.recipe.train.epochs,
        precision=run.result.precision or None,
        image_size=_find_image_side(run.recipe.data),
        starts_by_recipe=run.recipe.model.zero_init_residual is not None,
    )


def _find_image_side(data: Data) -> int | None:
    """Return the side of square images: as resized, else that of the dataset, if all of it have one."""
    if data.size is not None:
        return data.size[0] if data.size[0] == data.size[1] else None
    properties = find_properties(data.of or data.name)
    return properties.side if properties else None


def _estimate_over_pairs(values: Mapping[int, float], folds: FoldDesign | None) -> MeanEstimate:
    """Return the mean of values by pair number; over folds with the interval and the spread of their cuts."""
    if folds is None:
        return stats.estimate_mean(list(values.values()))
    by_cut = list(folds.average_by_cut(values).values())
    return replace(stats.estimate_mean(by_cut, overlap=folds.overlap), n=len(values))


def _estimate_figure(arm: VariantRuns, name: str, folds: FoldDesign | None) -> MeanEstimate | None:
    """Return the mean of a figure from 0 to 1 over the runs that recorded it, or None if none did."""
    values = {n: value for n, run in sorted(arm.runs.items()) if (value := getattr(run.result, name)) is not None}
    return _clip_accuracy(_estimate_over_pairs(values, folds)) if values else None


def _clip_accuracy(estimate: MeanEstimate) -> MeanEstimate:
    """Return the estimate with its interval cut at 0 and 1: no accuracy is beyond, so its coverage stays."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def _read_image_evidence(variant: _PairedVariant) -> tuple[float | None, DisagreementTest | None]:
    """Return the error by the choice of test images, and for a single pair McNemar's test; None without predictions."""
    if variant.baseline is None or variant.is_baseline or not variant.differences:
        return None, None
    marked = []
    for seed in sorted(variant.differences):
        own = variant.runs.runs[seed].read_predictions()
        other = variant.baseline.runs[seed].read_predictions()
        if own is None or other is None or own.labels.tobytes() != other.labels.tobytes():
            return None, None
        marked.append((own.mark_correct(), other.mark_correct()))
    if len(marked) == 1:
        return None, compare_disagreements(*marked[0])
    return estimate_image_error([own for own, _ in marked], [other for _, other in marked]), None
