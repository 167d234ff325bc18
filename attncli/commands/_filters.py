"""Filters of finished runs: one that no run meets is an error, not an empty table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attncli.runs import FinishedRun


def refuse_empty_filters(
    finished_runs: "Sequence[FinishedRun]", *, attn: list[str] | None, backbone: str | None, dataset: str | None
) -> None:
    """Raise UserError if no finished run has what the filters name, each of them and all together.

    Without any finished runs all filters pass. `attn` may be None or empty, `backbone` and `dataset` None.
    """
    from attncli import attention, backbones
    from attncli.dataset_catalog import list_dataset_aliases
    from attncli.errors import UserError, suggest_name

    filters = (
        ("--attn", attn or [], {run.result.attn for run in finished_runs}, attention.list_mechanism_aliases),
        (
            "--backbone",
            [backbone],
            {run.recipe.model.backbone_label for run in finished_runs},
            backbones.list_backbone_aliases,
        ),
        (
            "--dataset",
            [dataset],
            {name for run in finished_runs for name in (run.dataset, run.images)},
            list_dataset_aliases,
        ),
    )
    for option, names, present, list_aliases in filters:
        missing = [name for name in names if name is not None and name not in present]
        if missing and finished_runs:
            aliases = {alias: text for alias, text in list_aliases().items() if text.split("'")[1] in present}
            hint = f"the finished runs have {', '.join(sorted(present))}"
            suggestion = suggest_name(missing[0], present, aliases)
            hint = f"{suggestion} {hint}" if suggestion.startswith("did") else hint
            raise UserError(f"{option} {missing[0]}: no finished run has it", hint)
    given = {"--attn": ",".join(attn or []), "--backbone": backbone, "--dataset": dataset}
    are_met = any(
        (not attn or run.result.attn in attn)
        and backbone in (None, run.recipe.model.backbone_label)
        and dataset in (None, run.dataset, run.images)
        for run in finished_runs
    )
    if finished_runs and not are_met:
        words = " ".join(f"{option} {value}" for option, value in given.items() if value)
        raise UserError(f"{words}: no finished run has all of these", "leave one of them out")
