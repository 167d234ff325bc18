"""Finished runs side by side: the mean of each variant over seeds, and its difference to the baseline, seed by seed.

A variant's baseline is the plain network trained with the same recipe on the same images under the same conditions
(`attncli.analysis.conditions`). All variants of one baseline are tested together (`attncli.analysis.simultaneous`), at
a level that follows from the planned number of seeds (`attncli.analysis.looks`). If there is no baseline, or there are
too few seeds, the verdict says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.conditions import describe_part
from attncli.analysis.folds import FoldDesign
from attncli.analysis.image_error import DisagreementTest, compare_disagreements, estimate_image_error
from attncli.analysis.paired_variants import PairedVariant, pair_variants
from attncli.analysis.stats import MeanEstimate
from attncli.analysis.variants import VariantRuns, group_runs, list_recipe_differences, name_variants
from attncli.attention import NONE
from attncli.backbones.compatibility import has_branch_norms
from attncli.dataset_catalog import find_properties
from attncli.errors import UserError
from attncli.recipe import Data, Model
from attncli.runs import FailedRun, FinishedRun

MARGIN = 0.005  # top-1 as a fraction: smaller differences are of no interest


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
    variants = group_runs(runs)
    names, recipes = name_variants(variants), list_recipe_differences(variants)
    rows = [
        _make_comparison_row(paired, name, recipe, margin)
        for paired, name, recipe in zip(pair_variants(variants, planned_seeds, failures), names, recipes, strict=True)
    ]
    return sorted(rows, key=lambda r: (r.images, r.backbone, r.recipe, r.attn != NONE, -r.accuracy.mean, r.variant))


def _make_comparison_row(paired: PairedVariant, name: str, recipe: str, margin: float) -> ComparisonRow:
    variant, run = paired.variant, paired.variant.any_run
    differences, folds = paired.differences, paired.folds
    tested_differences = differences if folds is None else folds.keep_whole_seeds(differences)
    is_tested = paired.joint is not None
    image_error, disagreement = _read_image_evidence(paired)
    return ComparisonRow(
        dataset=run.dataset,
        images=variant.images,
        backbone=run.recipe.model.backbone_label,
        variant=name,
        attn=run.result.attn,
        category=run.result.category,
        recipe=recipe,
        seeds=tuple(variant.top1_by_seed()),
        accuracy=_clip_accuracy(_estimate_over_pairs(variant.top1_by_seed(), folds)),
        difference=_estimate_over_pairs(tested_differences, folds) if tested_differences else None,
        p=paired.p,
        p_holm=paired.p_holm,
        verdict=paired.word_verdict(margin),
        params=variant.median_of(lambda r: r.params),
        params_added=variant.median_of(lambda r: r.count_added("params")),
        params_pct=variant.median_of(lambda r: r.compute_overhead("params")),
        macs=variant.median_of(lambda r: r.macs),
        macs_pct=variant.median_of(lambda r: r.compute_overhead("macs")),
        train_ratio=variant.median_ratio(lambda r: r.train_ratio),
        infer_ratio=variant.median_ratio(lambda r: r.infer_ratio),
        train_images_per_s=variant.median_of(lambda r: r.train_images_per_s),
        infer_images_per_s=variant.median_of(lambda r: r.infer_images_per_s),
        group=run.result.group,
        run_ids=tuple(run.reference for _, run in sorted(variant.runs_by_seed.items())),
        joint=paired.joint,
        level=paired.level if is_tested else None,
        family=paired.family,
        planned_seeds=paired.plan.planned,
        failed_seeds=paired.failed_seeds,
        missing_seeds=paired.missing_seeds,
        part=describe_part(run.recipe),
        test_images=variant.test_images,
        image_error=image_error,
        disagreement=disagreement,
        top5=_estimate_figure(variant, "test_top5", folds),
        macro_f1=_estimate_figure(variant, "test_macro_f1", folds),
        folds=None if folds is None else folds.count,
        train_limit=variant.find_limit("train_limit"),
        infer_limit=variant.find_limit("infer_limit"),
        epochs=run.recipe.train.epochs,
        precision=run.result.precision or None,
        image_size=_find_image_side(run.recipe.data),
        zeroed_by_card=_follows_card(run.recipe.model),
        draws_test_images=_draws_test_images(run.recipe.data),
        nonfinite_by_seed=variant.count_nonfinite_by_seed(),
        runs=tuple(run for _, run in sorted(variant.runs_by_seed.items())),
    )


def _follows_card(model: Model) -> bool:
    """Return whether residual branches start at zero if the card wants it: no key decides, norms are there and new."""
    return model.zero_init_residual is None and not model.pretrained and has_branch_norms(model.backbone)


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


def _estimate_figure(variant: VariantRuns, name: str, folds: FoldDesign | None) -> MeanEstimate | None:
    """Return the mean of a figure from 0 to 1 over the runs that recorded it, or None if none did."""
    figures = {seed: getattr(run.result, name) for seed, run in sorted(variant.runs_by_seed.items())}
    values = {seed: figure for seed, figure in figures.items() if figure is not None}
    return _clip_accuracy(_estimate_over_pairs(values, folds)) if values else None


def _clip_accuracy(estimate: MeanEstimate) -> MeanEstimate:
    """Return the estimate with its interval cut at 0 and 1: no accuracy is beyond, so its coverage stays."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def _read_image_evidence(paired: PairedVariant) -> tuple[float | None, DisagreementTest | None]:
    """Return the error by the choice of test images, and for a single pair McNemar's test; None without predictions.

    There is no such error if the pairs were tested on images of their own, as those of folds.
    """
    if paired.baseline is None or paired.is_baseline or not paired.differences:
        return None, None
    marked = []
    labels: set[bytes] = set()
    for seed in sorted(paired.differences):
        own = paired.variant.runs_by_seed[seed].read_predictions()
        other = paired.baseline.runs_by_seed[seed].read_predictions()
        if own is None or other is None or own.labels.tobytes() != other.labels.tobytes():
            return None, None
        marked.append((own.mark_correct(), other.mark_correct()))
        labels.add(own.labels.tobytes())
    if len(marked) == 1:
        return None, compare_disagreements(*marked[0])
    if len(labels) > 1 or _draws_test_images(paired.variant.any_run.recipe.data):
        return None, None
    return estimate_image_error([own for own, _ in marked], [other for _, other in marked]), None


def _draws_test_images(data: Data) -> bool:
    """Return whether the test images of a recipe depend on the fold, or on the seed of the run."""
    return data.folds is not None or (data.subset_seed == "run" and data.test_per_class is not None)
