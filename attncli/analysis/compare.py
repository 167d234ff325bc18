"""Finished runs side by side: the mean of each variant over seeds, and its difference to the baseline, seed by seed.

A variant's baseline is the plain network trained with the same recipe on the same images. If there is none, or there
are too few seeds, the verdict says so.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from attncli.analysis import stats
from attncli.analysis.stats import MeanEstimate
from attncli.attention import NONE
from attncli.records import Result
from attncli.runs import FinishedRun
from attncli.track.tags import flatten_params

MARGIN = 0.005  # top-1 as a fraction: smaller differences are of no interest
OPTION = "model.options."
VARIANT_KEYS = ("model.attn", "model.site", "model.stages", "model.blocks")
NOT_THE_RECIPE = ("seed", "data.root", "data.decoded", "data.content", *VARIANT_KEYS)

BaselineKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One variant over its seeds; accuracies and their differences are fractions, ratios variant over baseline.

    `recipe` names the keys in which the recipes of this table differ. `difference` is the mean difference to the
    baseline over the seeds that both have, or None if there are none; `p` is its p value, and `p_holm` is corrected
    for all tests of the table.
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

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and CSV, the two estimates flat."""
        values = {name: value for name, value in vars(self).items() if name not in ("accuracy", "difference", "seeds")}
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
        }


@dataclass(frozen=True)
class _VariantRuns:
    """The runs of one group by seed, and the recipe without seed and mechanism that they share."""

    base: BaselineKey
    runs: dict[int, FinishedRun]

    @cached_property
    def any_run(self) -> FinishedRun:
        """One of the runs, for what all of them share."""
        return next(iter(self.runs.values()))

    @property
    def is_plain(self) -> bool:
        """Whether the network has no mechanism."""
        return self.any_run.result.attn == NONE

    def top1_by_seed(self) -> dict[int, float]:
        """Return the accuracies by seed."""
        return {seed: run.result.test_top1 or 0.0 for seed, run in sorted(self.runs.items())}

    def median_of(self, read: Callable[[Result], float | None]) -> float | None:
        """Return the median of a figure over the runs that have it."""
        values = [value for run in self.runs.values() if (value := read(run.result)) is not None]
        return float(median(values)) if values else None

    def median_ratio(self, read: Callable[[Result], float | None]) -> float | None:
        """Return the median of a ratio to the plain network; its own is 1, whatever noise timing it twice gave."""
        value = self.median_of(read)
        return 1.0 if value is not None and self.is_plain else value


def compare_variants(
    runs: Sequence[FinishedRun], *, margin: float = MARGIN, alpha: float = stats.ALPHA
) -> list[ComparisonRow]:
    """Return one row per variant, baselines before what is compared with them.

    Args:
        runs: Finished runs; those that were not tested are skipped. Of equal seeds of a group the first counts.
        margin: The smallest difference of interest, as a fraction.
        alpha: The level of the tests.
    """
    arms = _group_runs(runs)
    baselines = {arm.base: arm for arm in arms if arm.is_plain}
    paired_arms = [(arm, baselines.get(arm.base)) for arm in arms]
    diffs = [
        stats.paired_differences(arm.top1_by_seed(), base.top1_by_seed()) if base and base is not arm else []
        for arm, base in paired_arms
    ]
    ps = [stats.t_test(d) for d in diffs]
    judge = _DifferenceJudge(margin, alpha, sum(p is not None for p in ps))
    names, recipes = _name_variants(arms), _list_recipe_differences(arms)
    rows = [
        _make_comparison_row(
            arm, names[i], recipes[i], diffs[i], (ps[i], holm), judge.judge_difference(arm, base, diffs[i], holm)
        )
        for i, ((arm, base), holm) in enumerate(zip(paired_arms, stats.holm(ps), strict=True))
    ]
    return sorted(rows, key=lambda r: (r.dataset, r.backbone, r.recipe, r.attn != NONE, -r.accuracy.mean, r.variant))


def _group_runs(runs: Sequence[FinishedRun]) -> list[_VariantRuns]:
    """Return the tested runs by group and images, then by seed."""
    groups: dict[tuple[str, str], dict[int, FinishedRun]] = defaultdict(dict)
    for run in runs:
        if run.result.test_top1 is not None:
            groups[run.result.group, run.result.data_digest].setdefault(run.recipe.seed, run)
    return [_VariantRuns(_make_baseline_key(next(iter(by_seed.values()))), by_seed) for by_seed in groups.values()]


def _make_baseline_key(run: FinishedRun) -> BaselineKey:
    """Return what a run shares with its baseline: the images, and the recipe without mechanism, seed and timing."""
    shared_params = {
        key: value
        for key, value in flatten_params(run.recipe).items()
        if key not in NOT_THE_RECIPE and not key.startswith(("measure.", OPTION))
    }
    return tuple(sorted((shared_params | {"data": run.result.data_digest[:8]}).items()))


def _name_variants(arms: Sequence[_VariantRuns]) -> list[str]:
    """Return a name per variant: mechanism, options, place; groups that still look alike show their digest."""
    names = [_format_variant(arm.any_run) for arm in arms]
    arms_by_name = defaultdict(list)
    for i, arm in enumerate(arms):
        arms_by_name[names[i], arm.base].append(i)
    for alike in arms_by_name.values():
        if len(alike) > 1:
            for i in alike:
                names[i] += f" #{arms[i].any_run.result.group[:4]}"
    return names


def _format_variant(run: FinishedRun) -> str:
    """Format a variant, such as eca(gamma=3)@mid stages=[3, 4]."""
    params = flatten_params(run.recipe)
    options = ", ".join(f"{k.removeprefix(OPTION)}={v}" for k, v in sorted(params.items()) if k.startswith(OPTION))
    name = f"{run.result.attn}({options})" if options else run.result.attn
    if params["model.site"] != "null":
        name += f"@{params['model.site']}"
    for key in ("stages", "blocks"):
        if params[f"model.{key}"] != "null":
            name += f" {key}={params[f'model.{key}']}"
    return name


def _list_recipe_differences(arms: Sequence[_VariantRuns]) -> list[str]:
    """Return, per variant, the keys in which the recipes of its dataset and backbone differ, with their values."""
    values: dict[tuple[str, str], dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
    for arm in arms:
        setting, own_values = _dataset_and_backbone(arm), dict(arm.base)
        for key in {k for other in arms if _dataset_and_backbone(other) == setting for k, _ in other.base}:
            values[setting][key].add(own_values.get(key))
    return [
        " ".join(f"{key}={value}" for key, value in arm.base if len(values[_dataset_and_backbone(arm)][key]) > 1)
        for arm in arms
    ]


def _dataset_and_backbone(arm: _VariantRuns) -> tuple[str, str]:
    return arm.any_run.dataset, arm.any_run.recipe.model.backbone


@dataclass(frozen=True)
class _DifferenceJudge:
    """Words the verdict on a difference; `tests` is the number of tests in the table."""

    margin: float
    alpha: float
    tests: int

    def judge_difference(
        self, arm: _VariantRuns, base: _VariantRuns | None, diffs: Sequence[float], p: float | None
    ) -> str:
        """Return what the differences to the baseline say, or what to do if they say nothing."""
        if base is None:
            return "no baseline, run the same recipe with --attn none"
        if base is arm:
            return "baseline"
        if not diffs:
            return "no seed in common with the baseline"
        if p is None:
            return "undecided, one seed cannot tell an effect from chance"
        estimate = stats.estimate_mean(diffs)
        if p < self.alpha:
            return "better" if estimate.mean > 0 else "worse"
        if estimate.low is not None and estimate.high is not None and max(-estimate.low, estimate.high) < self.margin:
            return f"no difference of {_format_margin(self.margin)} or more"
        return self._describe_undecided(estimate)

    def _describe_undecided(self, estimate: MeanEstimate) -> str:
        if not estimate.sd:
            return "undecided, needs more seeds"
        needed = stats.seeds_needed(estimate.sd, self.margin, alpha=self.alpha / max(1, self.tests))
        if needed is None:
            return f"undecided, the seeds scatter too much to find {_format_margin(self.margin)}"
        more = max(1, needed - estimate.n)
        return f"undecided, needs about {more} more seed{'s' * (more > 1)} to find {_format_margin(self.margin)}"


def _format_margin(fraction: float) -> str:
    value = f"{100 * fraction:g}"
    return f"{value} point{'s' * (value != '1')}"


def _make_comparison_row(
    arm: _VariantRuns,
    variant: str,
    recipe: str,
    diffs: Sequence[float],
    ps: tuple[float | None, float | None],
    verdict: str,
) -> ComparisonRow:
    run = arm.any_run
    return ComparisonRow(
        dataset=run.dataset,
        backbone=run.recipe.model.backbone,
        variant=variant,
        attn=run.result.attn,
        category=run.result.category,
        recipe=recipe,
        seeds=tuple(arm.top1_by_seed()),
        accuracy=stats.estimate_mean(list(arm.top1_by_seed().values())),
        difference=stats.estimate_mean(diffs) if diffs else None,
        p=ps[0],
        p_holm=ps[1],
        verdict=verdict,
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
    )
