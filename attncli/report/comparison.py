"""The comparison as a table: accuracy, difference to the baseline, cost, and the verdict."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from attncli import attention
from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.attention.card import Card
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.records import describe_nonfinite
from attncli.report import table
from attncli.report.comparison_note import Spread, describe_spread, explain_columns
from attncli.report.table import HOST_MARK, MISSING, WIDTH, Column
from attncli.runs import FailedRun, FinishedRun
from attncli.system.terminal import fill_text
from attncli.track.tags import format_mechanism, name_images


def render_comparison(
    rows: Sequence[ComparisonRow],
    format_: str = "table",
    width: int = WIDTH,
    columns: Sequence[Column[ComparisonRow]] | None = None,
    spread: Spread = "ci",
) -> str:
    """Return the comparison as text.

    Args:
        rows: The variants.
        format_: One of `table.FORMATS`.
        width: Columns of the terminal, for `table`.
        columns: What to show instead of COLUMNS; CSV and JSON always have everything.
        spread: What these columns have after ±.

    Raises:
        UserError: Another format.
    """
    columns, note = columns or COLUMNS, explain_columns(rows, spread)
    groups = group_comparison_rows(rows)
    if format_ == "table":
        return "\n\n".join(
            [*(_render_group(title, part, width, columns) for title, part in groups), wrap_text(note, width)]
        )
    if format_ == "markdown":
        return "\n\n".join([*(_render_markdown(title, part, columns) for title, part in groups), note])
    if format_ == "latex":
        return "\n\n".join(_render_latex(title, part, columns, spread) for title, part in groups)
    return table.render_rows([row.to_json_dict() for row in rows], format_)


def _render_markdown(title: str, rows: Sequence[ComparisonRow], columns: Sequence[Column[ComparisonRow]]) -> str:
    seeds = _list_unequal_seeds(columns, rows)
    blocks = [f"### {title}", table.render_markdown_table([*columns, VERDICT], rows), *([seeds] if seeds else [])]
    return "\n\n".join(blocks)


def _render_latex(
    title: str, rows: Sequence[ComparisonRow], columns: Sequence[Column[ComparisonRow]], spread: Spread
) -> str:
    seeds = _list_unequal_seeds(columns, rows)
    comment = "; ".join([title, f"after ±: {describe_spread(rows, spread)}", *([seeds] if seeds else [])])
    return table.render_latex_table(columns, rows, comment=comment)


def _list_unequal_seeds(columns: Sequence[Column[ComparisonRow]], rows: Sequence[ComparisonRow]) -> str:
    """Return the seeds of each variant if they differ and no column shows them, else an empty text."""
    counts = [format_seed_count(row) for row in rows]
    if len(set(counts)) == 1 or any(column.heading == "n" for column in columns):
        return ""
    return f"seeds: {', '.join(f'{row.variant} {count}' for row, count in zip(rows, counts, strict=True))}"


def group_comparison_rows(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[ComparisonRow]]]:
    """Return (title, rows) for each dataset, backbone and recipe."""
    return [(title, list(part)) for title, part in groupby(rows, _format_title)]


def _format_title(row: ComparisonRow) -> str:
    part = f" (a part: {row.part})" if row.part else ""
    recipe = f" ({row.recipe})" if row.recipe else ""
    return f"{row.images}{part}, {row.backbone}{recipe}"


def _render_group(
    title: str, rows: Sequence[ComparisonRow], width: int, columns: Sequence[Column[ComparisonRow]]
) -> str:
    """Return a table and below it the verdicts, variants with the same verdict together."""
    verdicts: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "baseline":
            verdicts.setdefault(row.verdict, []).append(row.variant)
    lines = [wrap_text(f"{', '.join(names)}: {verdict}", width) for verdict, names in verdicts.items()]
    remarks = (
        *_describe_family(rows), *_describe_pairing(rows), *_describe_images(rows), *_describe_nonfinite(rows),
        *_describe_limit(rows)
    )  # fmt: skip
    lines += [wrap_text(line, width) for line in remarks]
    return "\n".join([table.render_text_table(columns, rows, title=title, width=width), *lines])


def describe_lost_runs(failed_runs: Sequence[FailedRun], finished_runs: Sequence[FinishedRun]) -> list[str]:
    """Return a line for each group of failed runs of which no seed finished, so that no table shows it."""
    finished_groups = {run.result.group for run in finished_runs}
    counts = Counter(
        f"{format_mechanism(run.recipe)} in {run.recipe.model.backbone_label} on {name_images(run.recipe)}"
        for run in failed_runs
        if run.group not in finished_groups
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
    by_recipe = {row.variant for row in rows if row.starts_by_recipe}
    zeroed = [name for name, card in cards.items() if card.zero_init_residual and name not in by_recipe]
    lines = []
    if redrawn:
        text = "kernels drawn anew, so that a seed pairs the data and the other layers"
        lines.append(f"{', '.join(redrawn)}: {text}")
    if kept:
        text = "starts with the plain network's kernels of its own size, and draws others anew"
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


def _describe_limit(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return what the mark of a speed means, if one has it."""
    is_marked = any("host" in (row.train_limit, row.infer_limit) for row in rows)
    return [f"{HOST_MARK} the host was the limit and not the GPU: a ratio of launches"] if is_marked else []


def _describe_images(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return how far the differences depend on the choice of test images."""
    lines = []
    reaches = [(row.variant, row.reach_with_images) for row in rows]
    known = [f"{name} ±{format_half_interval(reach)}" for name, reach in reaches if reach is not None]
    images = next((row.test_images for row in rows if row.test_images), None)
    if images is not None:
        others = f"; with other test images of the same kind: {', '.join(known)}" if known else ""
        lines.append(
            f"accuracies, intervals and verdicts are about these {format_quantity(images, 'test image')}{others}"
        )
    for row in rows:
        if test := row.disagreement:
            lines.append(
                f"{row.variant}, one seed: {format_quantity(test.won, 'image')} right with it only, "
                f"{test.lost} without it only, p {format_p_value(test.p)} (McNemar, about these two networks)"
            )
    return lines


def _describe_nonfinite(rows: Sequence[ComparisonRow]) -> list[str]:
    """Return how many test images each variant gave no finite loss."""
    return [
        f"{row.variant}: {describe_nonfinite(images, 'test image', f'seed {seed}')}"
        for row in rows
        for seed, images in row.nonfinite_by_seed.items()
    ]


def wrap_text(text: str, width: int) -> str:
    """Return a paragraph in lines of `width` characters, the second and further ones indented."""
    return fill_text(text, width, later="  ")


def format_seed_count(row: ComparisonRow) -> str:
    """Return the number of seeds; if some failed or are missing, of how many."""
    lost = len(row.failed_seeds) + len(row.missing_seeds)
    return f"{row.accuracy.n}/{row.accuracy.n + lost}" if lost else str(row.accuracy.n)


def format_top1(row: ComparisonRow) -> str:
    """Return the mean in percent with half its interval, or with both ends if the interval is cut at 0 or 100 %."""
    mean, low, high = row.accuracy.mean, row.accuracy.low, row.accuracy.high
    if low is None or high is None:
        return f"{100 * mean:.2f}"
    if low <= 0 or high >= 1:
        return f"{100 * mean:.2f} ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * mean:.2f} ±{format_half_interval(high - mean)}"


def format_difference(row: ComparisonRow, spread: Spread = "ci") -> str:
    """Return the difference in points with half its interval, or its standard deviation; baselines have none."""
    if row.difference is None:
        return MISSING
    half = f" ±{format_half_interval(reach)}" if (reach := _find_reach(row, row.difference, spread)) is not None else ""
    shared = f" ({row.difference.n})" if row.difference.n < row.accuracy.n else ""
    return f"{100 * row.difference.mean:+.2f}{half}{shared}"


def _find_reach(row: ComparisonRow, difference: stats.MeanEstimate, spread: Spread) -> float | None:
    """Return what stands after ± of a difference, as a fraction, or None if it is unknown or unbounded."""
    if spread == "sd":
        return difference.sd if difference.n > 1 else None
    high = row.joint.high if row.joint else None
    return high - difference.mean if high is not None and math.isfinite(high) else None


def format_half_interval(fraction: float) -> str:
    """Return half an interval, a fraction, in points with two decimals, more if it would be printed as 0."""
    points = 100 * fraction
    return f"{points:.2f}" if points >= 0.005 or points == 0 else f"{points:.1g}"


def format_p_value(p: float | None, level: float = 0.05) -> str:
    """Return a p value with three digits, more if rounding would put it on the other side of the level.

    Late looks have levels below 0.001, so "<.001" is only said of a p value that is below its level too.
    """
    if p is None:
        return MISSING
    if p < min(0.001, level):
        return "<.001"
    digits = next((d for d in range(3, 8) if (round(p, d) < level) == (p < level)), 8)
    return f"{p:.{digits}f}".removeprefix("0") if round(p, digits) < 1 else "1"


def format_overhead(percent: float | None) -> str:
    """Return an overhead in percent with as many digits as are needed to see it."""
    if percent is None:
        return MISSING
    if percent == 0:
        return "0"
    if abs(percent) < 0.001:
        return f"{percent:+.{1 - math.floor(math.log10(abs(percent))) - 1}f}"
    return f"{percent:+.1f}" if abs(percent) >= 1 else f"{percent:+.2f}" if abs(percent) >= 0.1 else f"{percent:+.3f}"


def format_ratio(value: float | None, limit: str | None = None) -> str:
    """Return a speed as a ratio to the baseline's, with a mark if the host was the limit and not the GPU."""
    return MISSING if value is None else f"{value:.2f}{HOST_MARK if limit == 'host' else ''}"


COLUMNS: list[Column[ComparisonRow]] = [
    Column("attention", lambda r: r.variant, right=False),
    Column("n", format_seed_count),
    Column("top-1", format_top1),
    Column("diff", format_difference),
    Column("p", lambda r: format_p_value(r.joint.p if r.joint else None, r.level or stats.ALPHA)),
    Column("params", lambda r: format_overhead(r.params_pct)),
    Column("MACs", lambda r: format_overhead(r.macs_pct)),
    Column("train", lambda r: format_ratio(r.train_ratio, r.train_limit)),
    Column("infer", lambda r: format_ratio(r.infer_ratio, r.infer_limit)),
]
VERDICT: Column[ComparisonRow] = Column("verdict", lambda r: r.verdict, right=False)
