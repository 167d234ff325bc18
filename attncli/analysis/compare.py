"""Finished runs side by side: every variant's mean over seeds, and its difference to the baseline, seed by seed.

A variant's baseline is the plain network trained by the very same recipe on the very same images; where there is
none, or too few seeds, the verdict says so.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from attncli.analysis import stats
from attncli.analysis.stats import MeanEstimate
from attncli.attention import NONE
from attncli.recipe import is_default_late_key

MARGIN = 0.005  # top-1 as a fraction: a difference smaller than half a point is held to be of no interest
TOP1 = "test/top1"
OPTION = "model.options."
VARIANT_KEYS = ("model.attn", "model.site", "model.stages", "model.blocks")
NOT_THE_RECIPE = ("seed", "data.root", "data.decoded", *VARIANT_KEYS)

Run = Mapping[str, Any]
BaselineKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One variant over its seeds; accuracies and their differences are fractions, ratios variant over baseline.

    `recipe` names the keys in which recipes of this table differ. `diff` and what follows it are over the `pairs`
    seeds that variant and baseline share. `p_holm` is corrected for all tests of the table.
    """

    dataset: str
    backbone: str
    variant: str
    attn: str
    category: str
    recipe: str
    n: int
    seeds: tuple[int, ...]
    top1: float
    top1_sd: float | None
    top1_low: float | None
    top1_high: float | None
    pairs: int
    diff: float | None
    diff_sd: float | None
    diff_low: float | None
    diff_high: float | None
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


@dataclass(frozen=True)
class _VariantRuns:
    """The runs of one group by seed, and the recipe without seed and mechanism that they share."""

    base: BaselineKey
    runs: dict[int, Run]

    @property
    def any_run(self) -> Run:
        """One of its runs, for what all of them share."""
        return next(iter(self.runs.values()))

    def top1_by_seed(self) -> dict[int, float]:
        """Accuracy by seed."""
        return {seed: run["metrics"][TOP1] for seed, run in sorted(self.runs.items())}

    def median_metric(self, metric: str) -> float | None:
        """The median of a metric over the runs that have it."""
        values = [run["metrics"][metric] for run in self.runs.values() if metric in run["metrics"]]
        return median(values) if values else None

    def median_ratio(self, metric: str) -> float | None:
        """The median of a ratio to the plain network; its own is 1, whatever noise timing it twice gave."""
        value = self.median_metric(metric)
        return 1.0 if value is not None and self.any_run["attn"] == NONE else value


def compare_variants(runs: Sequence[Run], *, margin: float = MARGIN, alpha: float = stats.ALPHA) -> list[ComparisonRow]:
    """The variants of `runs` (rows of `track.list_run_rows`, newest first), baselines before what is compared with
    them.

    Runs that are not finished or were not tested are passed over; of a seed that was run twice the newest counts.
    `margin` is the smallest difference of interest, `alpha` the level of the tests.
    """
    arms = _group_runs(runs)
    baselines = {arm.base: arm for arm in arms if arm.any_run["attn"] == NONE}
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
    return sorted(rows, key=lambda r: (r.dataset, r.backbone, r.recipe, r.attn != NONE, -r.top1, r.variant))


def _group_runs(runs: Sequence[Run]) -> list[_VariantRuns]:
    """The runs that count, by group and seed."""
    groups: dict[str, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        if run["status"] == "FINISHED" and TOP1 in run["metrics"] and run["seed"] is not None:
            groups[run["group"]].setdefault(run["seed"], run)
    return [_VariantRuns(_make_baseline_key(next(iter(by_seed.values()))), by_seed) for by_seed in groups.values()]


def _make_baseline_key(run: Run) -> BaselineKey:
    """What a run shares with its baseline: all of the recipe but mechanism, seed and timing; and the images."""
    shared_params = {
        key: value
        for key, value in run["params"].items()
        if key not in NOT_THE_RECIPE
        and not key.startswith(("measure.", OPTION))
        and not is_default_late_key(key, _parse_param(value))
    }
    return tuple(sorted((shared_params | {"data": run["data_digest"][:8]}).items()))


def _parse_param(text: str) -> Any:
    """What a parameter says: text bare, all else as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _name_variants(arms: Sequence[_VariantRuns]) -> list[str]:
    """A name for every variant: mechanism, options, place; groups that still look alike show their digest."""
    names = [_format_variant(arm.any_run) for arm in arms]
    arms_by_name = defaultdict(list)
    for i, arm in enumerate(arms):
        arms_by_name[names[i], arm.base].append(i)
    for alike in arms_by_name.values():
        if len(alike) > 1:
            for i in alike:
                names[i] += f" #{arms[i].any_run['group'][:4]}"
    return names


def _format_variant(run: Run) -> str:
    """Such as eca(gamma=3)@mid stages=[3, 4]."""
    params = run["params"]
    options = ", ".join(f"{k.removeprefix(OPTION)}={v}" for k, v in sorted(params.items()) if k.startswith(OPTION))
    name = f"{run['attn']}({options})" if options else str(run["attn"])
    if params.get("model.site", "null") != "null":
        name += f"@{params['model.site']}"
    for key in ("stages", "blocks"):
        if params.get(f"model.{key}", "null") != "null":
            name += f" {key}={params[f'model.{key}']}"
    return name


def _list_recipe_differences(arms: Sequence[_VariantRuns]) -> list[str]:
    """For every arm the keys in which the recipes of its dataset and backbone differ, with their values."""
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
    return arm.any_run["dataset"], arm.any_run["backbone"]


@dataclass(frozen=True)
class _DifferenceJudge:
    """Puts a comparison into words; `tests` is the number of tests in the table."""

    margin: float
    alpha: float
    tests: int

    def judge_difference(
        self, arm: _VariantRuns, base: _VariantRuns | None, diffs: Sequence[float], p: float | None
    ) -> str:
        """What the differences to the baseline say, and what would have to be done where they say nothing."""
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
    run, top1 = arm.any_run, stats.estimate_mean(list(arm.top1_by_seed().values()))
    diff = stats.estimate_mean(diffs) if diffs else None
    return ComparisonRow(
        dataset=run["dataset"],
        backbone=run["backbone"],
        variant=variant,
        attn=run["attn"],
        category=run["category"],
        recipe=recipe,
        n=top1.n,
        seeds=tuple(arm.top1_by_seed()),
        top1=top1.mean,
        top1_sd=top1.sd,
        top1_low=top1.low,
        top1_high=top1.high,
        pairs=len(diffs),
        diff=diff.mean if diff else None,
        diff_sd=diff.sd if diff else None,
        diff_low=diff.low if diff else None,
        diff_high=diff.high if diff else None,
        p=ps[0],
        p_holm=ps[1],
        verdict=verdict,
        params=arm.median_metric("cost/params"),
        params_added=arm.median_metric("overhead/params"),
        params_pct=arm.median_metric("overhead/params_pct"),
        macs=arm.median_metric("cost/macs"),
        macs_pct=arm.median_metric("overhead/macs_pct"),
        train_ratio=arm.median_ratio("speed/train_ratio"),
        infer_ratio=arm.median_ratio("speed/infer_ratio"),
        train_images_per_s=arm.median_metric("speed/train_images_per_s"),
        infer_images_per_s=arm.median_metric("speed/infer_images_per_s"),
        group=run["group"],
        run_ids=tuple(run["run_id"] for _, run in sorted(arm.runs.items())),
    )
