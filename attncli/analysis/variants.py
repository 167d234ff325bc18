"""Finished runs grouped into variants: runs of one recipe but for the seed, under the same conditions."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median

from attncli.analysis.conditions import complete_conditions, name_mechanism_code
from attncli.analysis.run_keys import OPTION, BaselineKey, make_baseline_key, make_variant_key, number_pair
from attncli.attention import NONE
from attncli.portable_runs import has_own_cut
from attncli.records import SMALLEST_DIFFERENCE, Result
from attncli.runs import FinishedRun
from attncli.track.tags import flatten_params


@dataclass(frozen=True)
class VariantRuns:
    """The runs of one variant by seed, the recipe without seed and mechanism that they share, and their images' name.

    The name is the dataset's. Of the user's own images that lay in folders of different names it is the first one.
    """

    base: BaselineKey
    runs_by_seed: dict[int, FinishedRun]
    images: str

    @cached_property
    def any_run(self) -> FinishedRun:
        """One of the runs, for what all of them share."""
        return next(iter(self.runs_by_seed.values()))

    @property
    def is_plain(self) -> bool:
        """Whether the network has no mechanism."""
        return self.any_run.result.attn == NONE

    def top1_by_seed(self) -> dict[int, float]:
        """Return the accuracies by seed."""
        return {seed: run.result.test_top1 or 0.0 for seed, run in sorted(self.runs_by_seed.items())}

    def subtract_baseline(self, baseline: "VariantRuns") -> dict[int, float]:
        """Return the difference of accuracy to the baseline for every seed that both have, on the same images.

        It is the difference of two numbers of images, divided by their number, if the results have them.
        """
        shared_seeds = sorted(self.runs_by_seed.keys() & baseline.runs_by_seed.keys())
        pairs = {seed: (self.runs_by_seed[seed].result, baseline.runs_by_seed[seed].result) for seed in shared_seeds}
        same_images = {seed: pair for seed, pair in pairs.items() if pair[0].data_digest == pair[1].data_digest}
        return {seed: _subtract_accuracies(*pair) for seed, pair in same_images.items()}

    @property
    def test_images(self) -> int | None:
        """The number of test images, None if the runs of an earlier version do not say."""
        return self.any_run.result.test_images

    def count_nonfinite_by_seed(self) -> dict[int, int]:
        """Return the test images without a finite loss of each seed that has some."""
        counts = {seed: run.result.test_nonfinite for seed, run in sorted(self.runs_by_seed.items())}
        return {seed: images for seed, images in counts.items() if images}

    def median_of(self, read: Callable[[Result], float | None]) -> float | None:
        """Return the median of a figure over the runs that have it."""
        values = [value for run in self.runs_by_seed.values() if (value := read(run.result)) is not None]
        return float(median(values)) if values else None

    def median_ratio(self, read: Callable[[Result], float | None]) -> float | None:
        """Return the median of a ratio to the plain network; its own is 1, whatever noise timing it twice gave."""
        value = self.median_of(read)
        return 1.0 if value is not None and self.is_plain else value

    def find_limit(self, name: str) -> str | None:
        """Return `host` if the host limits a speed of a run, else `device`; None if no run says it.

        `name` is `train_limit` or `infer_limit`.
        """
        limits = {getattr(run.result, name) for run in self.runs_by_seed.values()}
        return next((limit for limit in ("host", "device") if limit in limits), None)


def _subtract_accuracies(result: Result, baseline: Result) -> float:
    own, other, images = result.test_correct, baseline.test_correct, result.test_images
    if own is not None and other is not None and images and images == baseline.test_images:
        return (own - other) / images
    difference = (result.test_top1 or 0.0) - (baseline.test_top1 or 0.0)
    return 0.0 if abs(difference) <= SMALLEST_DIFFERENCE else difference


def group_runs(runs: Sequence[FinishedRun]) -> list[VariantRuns]:
    """Return the tested runs by baseline and variant (`attncli.analysis.run_keys`), and by seed.

    Of equal seeds of a variant the first counts.
    """
    groups: dict[tuple[BaselineKey, tuple[str, ...]], dict[int, FinishedRun]] = defaultdict(dict)
    names: dict[BaselineKey, str] = {}
    for run, conditions in zip(runs, complete_conditions(runs), strict=True):
        if run.result.test_top1 is not None:
            base = make_baseline_key(run, conditions)
            groups[base, make_variant_key(run)].setdefault(number_pair(run.recipe), run)
            names.setdefault(base, run.images)
    variants = [VariantRuns(base, by_seed, names[base]) for (base, _), by_seed in groups.items()]
    return [
        replace(variant, images=variant.any_run.images) if has_own_cut(variant.any_run.recipe) else variant
        for variant in variants
    ]


def count_left_out_variants(shown: Sequence[FinishedRun], known: Sequence[FinishedRun]) -> int:
    """Return how many variants of the baselines of the `shown` runs are among the `known` ones, and not shown.

    Intervals and p values of the shown ones alone are those of fewer tests, whatever made one choose them.
    """
    bases = {variant.base for variant in group_runs(shown)}
    digests = {run.digest for run in shown}
    return sum(
        variant.base in bases
        and not variant.is_plain
        and digests.isdisjoint(run.digest for run in variant.runs_by_seed.values())
        for variant in group_runs(known)
    )


def name_variants(variants: Sequence[VariantRuns]) -> list[str]:
    """Return a name per variant: mechanism, options, place; those that still look alike show their digest or code."""
    names = [_format_variant(variant.any_run) for variant in variants]
    indices_by_name = defaultdict(list)
    for i, variant in enumerate(variants):
        indices_by_name[names[i], variant.base].append(i)
    for alike in indices_by_name.values():
        if len(alike) > 1:
            for i in alike:
                result = variants[i].any_run.result
                is_same_recipe = len({variants[j].any_run.result.group for j in alike}) == 1
                names[i] += f" #{(name_mechanism_code(result) if is_same_recipe else result.group)[:4]}"
    return names


def _format_variant(run: FinishedRun) -> str:
    """Format a variant, such as eca(gamma=3)@mid stages=[3, 4]."""
    if run.result.attn == NONE:
        return NONE  # wherever its recipe would put a mechanism
    params = flatten_params(run.recipe)
    options = ", ".join(f"{k.removeprefix(OPTION)}={v}" for k, v in sorted(params.items()) if k.startswith(OPTION))
    name = f"{run.result.attn}({options})" if options else run.result.attn
    if params["model.site"] != "null":
        name += f"@{params['model.site']}"
    for key in ("stages", "blocks"):
        if params[f"model.{key}"] != "null":
            name += f" {key}={params[f'model.{key}']}"
    return name


def list_recipe_differences(variants: Sequence[VariantRuns]) -> list[str]:
    """Return, per variant, the keys in which the recipes of its images and backbone differ, with their values."""
    values: dict[tuple[str, str], dict[str, set[str | None]]] = defaultdict(lambda: defaultdict(set))
    for variant in variants:
        setting, own_values = _images_and_backbone(variant), dict(variant.base)
        for key in {k for other in variants if _images_and_backbone(other) == setting for k, _ in other.base}:
            values[setting][key].add(own_values.get(key))
    return [
        " ".join(f"{key}={value}" for key, value in variant.base if len(values[_images_and_backbone(variant)][key]) > 1)
        for variant in variants
    ]


def _images_and_backbone(variant: VariantRuns) -> tuple[str, str]:
    return variant.images, variant.any_run.recipe.model.backbone_label
