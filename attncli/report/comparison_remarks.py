"""The remarks below a comparison's table: what was tested together, what is not paired, how far the images decide."""

from collections import Counter
from collections.abc import Sequence

from attncli import attention
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.folds import name_pair
from attncli.analysis.run_keys import list_failure_keys, make_recipe_key
from attncli.attention.card import Card
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.records import describe_nonfinite
from attncli.report.comparison_cells import format_half_interval, format_p_value
from attncli.report.table import HOST_MARK
from attncli.runs import FailedRun, FinishedRun
from attncli.track.tags import format_mechanism, name_images


def list_remarks(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return the remarks on the variants of one table, a line each."""
    return [
        *_describe_family(rows), *_describe_pairing(rows), *_describe_images(rows), *_describe_nonfinite(rows),
        *describe_limit(rows)
    ]  # fmt: skip


def describe_lost_runs(failed_runs: Sequence[FailedRun], finished_runs: Sequence[FinishedRun]) -> list[str]:
    """Return a line for each recipe of failed runs of which no seed finished, so that no table shows it."""
    finished_recipes = {key for run in finished_runs for key in list_failure_keys(run)}
    counts = Counter(
        f"{format_mechanism(run.recipe)} in {run.recipe.model.backbone_label} on {name_images(run.recipe)}"
        for run in failed_runs
        if make_recipe_key(run.recipe, run.group, run.data_digest) not in finished_recipes
    )
    return [f"{name}: no seed finished, {count} failed" for name, count in counts.items()]


def _describe_family(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return how many variants were tested together, and at which level."""
    tested_rows = [row for row in rows if row.joint is not None]
    if not tested_rows:
        return []
    family = tested_rows[0].family
    together = f"{family} variants tested together" if family > 1 else "1 variant tested"
    levels = sorted({row.level for row in tested_rows if row.level is not None})
    if not levels:
        return [together]
    level_text = " and ".join(f"{level:.3g}" for level in levels)
    plans = sorted({row.planned_seeds for row in tested_rows if row.planned_seeds is not None})
    plan_text = "no number of seeds was planned"
    if plans:
        plan_text = f"{', '.join([*map(str, plans[:-1]), format_quantity(plans[-1], 'seed')])} planned"
    return [f"{together} at the level {level_text} ({plan_text})", *_describe_folds(rows)]


def _describe_folds(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return what the intervals over folds allow for."""
    counts = sorted({row.folds for row in rows if row.folds is not None})
    return [
        f"{count} folds: intervals and p values allow for the training images that folds share (Nadeau and Bengio)"
        for count in counts
    ]


def _describe_pairing(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return which variants start from other weights than the plain network of their seed."""
    cards = {row.variant: card for row in rows if (card := _read_card(row.attn)) is not None}
    redrawn = [name for name, card in cards.items() if card.site == "conv" and not card.host_kernel]
    kept = [name for name, card in cards.items() if card.host_kernel]
    by_card = {row.variant for row in rows if row.zeroed_by_card}
    zeroed = [name for name, card in cards.items() if card.zero_init_residual and name in by_card]
    lines = []
    if redrawn:
        text = "kernels drawn anew, so that a seed pairs the data and the other layers"
        lines.append(f"{', '.join(redrawn)}: {text}")
    if kept:
        text = "starts with the plain network's kernels, unless an option gives its own another size"
        lines.append(f"{', '.join(kept)}: {text}")
    if zeroed:
        text = "residual branches start at zero unlike those of the plain network (model.zero_init_residual sets both)"
        lines.append(f"{', '.join(zeroed)}: {text}")
    return lines


def _read_card(attn: str) -> Card | None:
    """Return the card of a mechanism; a file that is gone tells nothing."""
    try:
        mechanism = attention.resolve_mechanism(attn)
    except UserError:
        return None
    return None if mechanism is None else mechanism.card


def _describe_images(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return how far the differences depend on the choice of test images."""
    lines = []
    reaches = [(row.variant, row.reach_with_images) for row in rows]
    known = [f"{name} ±{format_half_interval(reach)}" for name, reach in reaches if reach is not None]
    if any(row.test_images for row in rows):
        others = f"; with other test images of the same kind: {', '.join(known)}" if known else ""
        lines.append(f"accuracies, intervals and verdicts are about {_name_test_images(rows)}{others}")
    for row in rows:
        if test := row.disagreement:
            lines.append(
                f"{row.variant}, one seed: {format_quantity(test.won, 'image')} right with it only, "
                f"{test.lost} without it only, p {format_p_value(test.p)} (McNemar, about these two networks)"
            )
    return lines


def _name_test_images(rows: Sequence[ComparisonRow]) -> str:
    """Return which test images the accuracies of a table are of."""
    if folds := next((row.folds for row in rows if row.folds), None):
        return f"the test images of {folds} folds"
    count = format_quantity(next(row.test_images for row in rows if row.test_images), "test image")
    return f"the {count} that each seed drew" if any(row.draws_test_images for row in rows) else f"these {count}"


def _describe_nonfinite(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return how many test images each variant gave no finite loss."""
    return [
        f"{row.variant}: {describe_nonfinite(images, 'test image', name_pair(number, row.folds))}"
        for row in rows
        for number, images in row.nonfinite_by_seed.items()
    ]


def describe_limit(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return what the mark of a speed means, if one has it."""
    is_marked = any("host" in (row.train_limit, row.infer_limit) for row in rows)
    return [f"{HOST_MARK} the host was the limit and not the GPU: a ratio of launches"] if is_marked else []
