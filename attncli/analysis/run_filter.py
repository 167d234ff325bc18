"""Which finished runs a comparison shows: by dataset, network, mechanism, recipe, sweep and date.

    run_filter = read_run_filter(backbone="resnet20", sweep="mine.yaml", since="2026-11-01")
    run_filter.refuse_unknown_names(finished_runs)
    rows = run_filter.select_rows(compare_variants(finished_runs))

Variants are tested together whatever is shown, so the rows are chosen after the comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from attncli import attention, backbones
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.recipe_settings import list_other_settings, read_recipe_settings
from attncli.analysis.variants import group_runs
from attncli.attention import NONE
from attncli.dataset_catalog import list_dataset_aliases
from attncli.errors import UserError, suggest_name
from attncli.jobs.plan import plan_sweep
from attncli.portable_runs import forget_image_root
from attncli.recipe import find_recipe_file
from attncli.runs import FinishedRun
from attncli.system.code_reference import is_code_reference, label_code_reference, label_mechanism_name


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """What a run must be to be shown; None and empty values let every run pass.

    `settings` holds values by dotted key, `groups` the digests without seed of a sweep's runs, and `since_ms` a time
    since 1970.
    """

    dataset: str | None = None
    backbone: str | None = None
    attn: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    groups: frozenset[str] | None = None
    since_ms: int | None = None

    def selects(self, run: FinishedRun) -> bool:
        """Return whether a run is shown: it, or its baseline, is what the filter names."""
        return (
            run.is_on(self.dataset)
            and self.backbone in (None, run.recipe.model.backbone_label)
            and (not self.attn or run.result.attn in (*self.attn, NONE))
            and not list_other_settings(run.recipe, self.settings)
            and (self.groups is None or run.result.group in self.groups)
            and (self.since_ms is None or run.find_start_ms() >= self.since_ms)
        )

    def select_rows(self, rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
        """Return the rows of which any run is shown, with the plain networks that they are compared with.

        A table without the mechanisms that the filter names is left out, with its plain network.
        """
        named = [row for row in rows if not self.attn or row.attn in self.attn]
        shown = [row for row in named if any(map(self.selects, row.runs))]
        tables = {(row.images, row.backbone, row.recipe) for row in shown}
        return [row for row in rows if row in shown or (row.attn == NONE and _locate_table(row) in tables)]

    def select_variants(self, finished_runs: Sequence[FinishedRun]) -> list[FinishedRun]:
        """Return all runs of the variants of which any run is shown, and all of the plain networks beside them."""
        variants = group_runs(finished_runs)
        shown = [any(map(self.selects, variant.runs_by_seed.values())) for variant in variants]
        bases = {variant.base for variant, is_shown in zip(variants, shown, strict=True) if is_shown}
        return [
            run
            for variant, is_shown in zip(variants, shown, strict=True)
            if is_shown or (variant.is_plain and variant.base in bases)
            for run in variant.runs_by_seed.values()
        ]

    def refuse_unknown_names(self, finished_runs: Sequence[FinishedRun]) -> None:
        """Raise UserError if no finished run has what the filter names; without any finished runs all names pass."""
        names_by_option = (
            ("--attn", self.attn, {run.result.attn for run in finished_runs}, attention.list_mechanism_aliases),
            (
                "--backbone",
                (self.backbone,),
                {run.recipe.model.backbone_label for run in finished_runs},
                backbones.list_backbone_aliases,
            ),
            (
                "--dataset",
                (self.dataset,),
                {name for run in finished_runs for name in (run.dataset, run.images)},
                list_dataset_aliases,
            ),
        )
        for option, names, present, list_aliases in names_by_option:
            missing = [name for name in names if name is not None and name not in present]
            if missing and finished_runs:
                aliases = {alias: text for alias, text in list_aliases().items() if text.split("'")[1] in present}
                hint = f"the finished runs have {', '.join(sorted(present))}"
                suggestion = suggest_name(missing[0], present, aliases)
                hint = f"{suggestion} {hint}" if suggestion.startswith("did") else hint
                raise UserError(f"{option} {missing[0]}: no finished run has it", hint)
        if finished_runs and not any(map(self.selects, finished_runs)):
            raise UserError("no finished run is what the filters ask for together", self._explain_none(finished_runs))

    def _explain_none(self, finished_runs: Sequence[FinishedRun]) -> str:
        """Return which of the filters no run passes, for the recipe with the keys in which the nearest run differs."""
        misfits = [list_other_settings(run.recipe, self.settings) for run in finished_runs]
        if all(misfits):
            fewest = min(misfits, key=lambda keys: len(keys))
            return f"of --recipe, even the nearest run has another {', '.join(fewest)}"
        if self.groups is not None and not any(run.result.group in self.groups for run in finished_runs):
            return "none is of --sweep; `attncli sweep SWEEP --dry-run` shows its plan"
        if self.since_ms is not None and (latest := max(run.find_start_ms() for run in finished_runs)) < self.since_ms:
            return f"the latest began on {datetime.fromtimestamp(latest / 1000):%Y-%m-%d %H:%M}"
        return "leave out one of them"


def _locate_table(row: ComparisonRow) -> tuple[str, str, str]:
    return (row.images, row.backbone, row.recipe)


def read_run_filter(
    *,
    dataset: str | None = None,
    backbone: str | None = None,
    attn: Sequence[str] | None = None,
    recipe: str | Path | None = None,
    sweep: str | Path | None = None,
    since: str | None = None,
    runs: Path = Path("runs"),
) -> RunFilter:
    """Return the filter that these words mean.

    Args:
        dataset: A dataset, or the name of a folder of images.
        backbone: A backbone, or the path of a user's network.
        attn: Mechanisms; a single name is taken as one.
        recipe: A recipe by name or file: runs have the values that it sets outside of the network and the dataset.
        sweep: A sweep by name or file: runs are those of its plan, with any seed.
        since: A date such as 2026-11-29, or with a time, of this machine: runs began then or later.
        runs: The folder of runs.

    Raises:
        UserError: There is no such recipe or sweep, it is wrong, or the date is none.
    """
    names = (attn,) if isinstance(attn, str) else tuple(attn or ())
    return RunFilter(
        dataset=dataset,
        backbone=label_code_reference(backbone) if backbone and is_code_reference(backbone) else backbone,
        attn=tuple(map(label_mechanism_name, names)),
        settings={} if recipe is None else read_recipe_settings(find_recipe_file(Path(recipe))),
        groups=None if sweep is None else _read_groups(find_recipe_file(Path(sweep), "sweep"), runs),
        since_ms=None if since is None else _read_time(since),
    )


def _read_groups(file: Path, runs: Path) -> frozenset[str]:
    """Return the groups of a sweep's runs, also as runs on the user's own images have them in files of results."""
    recipes = [run.recipe for run in plan_sweep(file, runs=runs).runs]
    return frozenset(form.compute_group() for recipe in recipes for form in (recipe, forget_image_root(recipe)))


def _read_time(text: str) -> int:
    """Return a date, with or without a time, in milliseconds since 1970. Raises UserError if it is none."""
    try:
        return round(1000 * datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(f"--since {text}: not a date", "such as 2026-11-29, or '2026-11-29 14:30'") from error
