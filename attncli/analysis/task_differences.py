"""Tasks (datasets, backbones) that finished runs have: the differences of each variant to the plain network there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attncli.analysis.failures import FailuresByRecipe, group_failures, select_failures
from attncli.analysis.folds import read_fold_design
from attncli.analysis.paired_variants import count_lacking_seeds
from attncli.analysis.recipe_settings import is_setting
from attncli.analysis.run_keys import BaselineKey, number_pair
from attncli.analysis.variants import VariantRuns, name_variants
from attncli.runs import FailedRun

TASK_KEYS = ("dataset", "backbone")
BACKBONE = "model.backbone"
CHOOSING_OPTIONS = {BACKBONE: "--backbone", "data.name": "--dataset"}  # of `compare`, by the key that they choose
Differences = Mapping[str, Sequence[float]]  # of one task: by variant, one value per seed


@dataclass(frozen=True, kw_only=True)
class CollectedTasks:
    """The differences by task, the variants that are not judged, and which of several recipes of a task counts.

    Differences are fractions; the plain network's own are 0. `failed` are the variants of which a seed failed in some
    task, `unfinished` others that lack a planned seed.
    """

    differences: dict[str, Differences]
    failed: frozenset[str]
    unfinished: tuple[str, ...]
    recipe_choices: tuple[str, ...]


def collect_tasks(
    variants: Sequence[VariantRuns], over: Sequence[str], failures: Sequence[FailedRun]
) -> CollectedTasks:
    """Return the tasks of the variants by the keys `over` (of TASK_KEYS).

    Runs of other recipes or conditions than those chosen do not count.
    """
    names = name_variants(variants)
    baselines = {variant.base: variant for variant in variants if variant.is_plain}
    tables: dict[str, dict[BaselineKey, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for variant, name in zip(variants, names, strict=True):
        baseline = baselines.get(variant.base)
        differences = _list_differences(variant, baseline) if baseline is not None else []
        if differences:
            tables[_name_task(variant, over)][variant.base][name] = differences
    chosen = {task: _choose_recipe(by_recipe) for task, by_recipe in sorted(tables.items())}
    choices = [_word_choice(task, chosen[task], list(tables[task])) for task in chosen if len(tables[task]) > 1]
    ranked = [
        (variant, name)
        for variant, name in zip(variants, names, strict=True)
        if chosen.get(_name_task(variant, over)) == variant.base
    ]
    grouped_failures = group_failures(failures)
    failed_names = {name for variant, name in ranked if _has_failed(variant, grouped_failures)}
    unfinished_names = {
        name
        for variant, name in ranked
        if not variant.is_plain and count_lacking_seeds(variant, baselines[variant.base])
    } - failed_names
    return CollectedTasks(
        differences={task: tables[task][base] for task, base in chosen.items()},
        failed=frozenset(failed_names),
        unfinished=tuple(sorted(unfinished_names)),
        recipe_choices=(*choices, *_list_unlike_networks(chosen, over)),
    )


def _has_failed(variant: VariantRuns, failures: FailuresByRecipe) -> bool:
    """Return whether a seed of a mechanism failed and was not finished later; a plain network's seeds do not count."""
    if variant.is_plain:
        return False
    failed_runs = select_failures(failures, variant.runs_by_seed.values(), dict(variant.base))
    return any(number_pair(run.recipe) not in variant.runs_by_seed for run in failed_runs)


def _choose_recipe(by_recipe: Mapping[BaselineKey, Differences]) -> BaselineKey:
    """Return the recipe of a task that counts, whatever its runs say: most variants, then most pairs, most epochs."""

    def rank(base: BaselineKey) -> tuple[int, int, int, BaselineKey]:
        differences = by_recipe[base].values()
        return len(differences), sum(map(len, differences)), int(dict(base)["train.epochs"]), base

    return max(by_recipe, key=rank)


def _word_choice(task: str, chosen: BaselineKey, bases: Sequence[BaselineKey]) -> str:
    """Return which recipe of a task counts, by the keys in which its recipes differ."""
    own, values = dict(chosen), [dict(base) for base in bases]
    keys = sorted({key for flat in values for key in flat})
    differing = [key for key in keys if len({flat.get(key) for flat in values}) > 1]
    text = " ".join(f"{key}={own.get(key, 'default')}" for key in differing)
    options = [CHOOSING_OPTIONS[key] for key in differing if key in CHOOSING_OPTIONS]
    options += ["--recipe"] * any("." in key and is_setting(key) for key in differing)  # conditions have no section
    hint = f" ({' or '.join(options)} chooses)" if options else ""
    return f"{task}: of {len(bases)} recipes {text} counts{hint}"


def _list_unlike_networks(chosen: Mapping[str, BaselineKey], over: Sequence[str]) -> list[str]:
    """Return a line that says so if tasks that are no networks are represented by different ones, else none."""
    networks = {task: dict(base).get(BACKBONE, "default") for task, base in chosen.items()}
    if "backbone" in over or len(set(networks.values())) < 2:
        return []
    text = ", ".join(f"{task} {network}" for task, network in networks.items())
    return [f"the tasks differ in their network too: {text} (--backbone chooses one)"]


def _list_differences(variant: VariantRuns, baseline: VariantRuns) -> list[float]:
    """Return the differences of a variant by seed; over folds their mean, as folds are no runs of other seeds."""
    differences, folds = variant.subtract_baseline(baseline), read_fold_design(variant.any_run.recipe)
    return list((differences if folds is None else folds.average_by_seed(differences)).values())


def _name_task(variant: VariantRuns, over: Sequence[str]) -> str:
    values = {"dataset": variant.images, "backbone": variant.any_run.recipe.model.backbone_label}
    return ", ".join(values[key] for key in TASK_KEYS if key in over)
