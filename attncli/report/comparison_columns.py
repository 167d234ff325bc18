"""The columns that a comparison can have, chosen by name, and the order of its rows."""

from collections.abc import Callable, Sequence

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.stats import MeanEstimate
from attncli.attention import NONE
from attncli.errors import unknown_name_error
from attncli.report.comparison_cells import (
    format_difference,
    format_half_interval,
    format_mean,
    format_overhead,
    format_p_value,
    format_ratio,
    format_seed_count,
)
from attncli.report.comparison_note import Spread
from attncli.report.table import MISSING, Column

NAME_COLUMN = "attention"  # a row without it is a figure of no one knows what
PAPER_COLUMNS = (NAME_COLUMN, "n", "params", "macs", "top1", "top5", "diff", "p")
SORT_KEYS: dict[str, Callable[[ComparisonRow], tuple[object, ...]]] = {
    "top1": lambda r: (r.attn != NONE, -r.accuracy.mean, r.variant),
    "attention": lambda r: (r.attn != NONE, r.variant),
    "params": lambda r: (r.params is None, r.params or 0, r.variant),
    "macs": lambda r: (r.macs is None, r.macs or 0, r.variant),
    "latency": lambda r: (r.latency_ms is None, r.latency_ms or 0, r.variant),
}


def format_millions(value: float | None) -> str:
    """Return a count in millions with two digits behind the point, more for small ones."""
    return MISSING if value is None else f"{value / 1e6:.2f}" if value >= 1e6 else f"{value / 1e6:.4f}"


def format_billions(value: float | None) -> str:
    """Return a count in billions with three digits behind the point, more for small ones."""
    return MISSING if value is None else f"{value / 1e9:.3f}" if value >= 1e9 else f"{value / 1e9:.4f}"


def format_latency(row: ComparisonRow) -> str:
    """Return the milliseconds per image."""
    return MISSING if row.latency_ms is None else f"{row.latency_ms:.3g}"


def format_accuracy(estimate: MeanEstimate | None, spread: Spread) -> str:
    """Return a mean in percent with its standard deviation, or with its 95 % interval as `format_mean` writes it."""
    if estimate is None:
        return MISSING
    if spread == "ci":
        return format_mean(estimate)
    mean_text = f"{100 * estimate.mean:.2f}"
    if estimate.n < 2 or estimate.sd is None:
        return mean_text
    return f"{mean_text} ±{format_half_interval(estimate.sd)}"


def choose_columns(names: Sequence[str], spread: Spread = "ci") -> list[Column[ComparisonRow]]:
    """Return the columns of these names, before them the name of each row. Raises UserError for an unknown name."""
    columns = list_columns(spread)
    for name in names:
        if name not in columns:
            raise unknown_name_error("column", name, columns)
    return [columns[name] for name in (names if NAME_COLUMN in names else (NAME_COLUMN, *names))]


def list_columns(spread: Spread = "ci") -> dict[str, Column[ComparisonRow]]:
    """Return every column by its name."""
    return {
        NAME_COLUMN: Column("attention", lambda r: r.variant, right=False),
        "backbone": Column("backbone", lambda r: r.backbone, right=False),
        "n": Column("n", format_seed_count),
        "params": Column("Params (M)", lambda r: format_millions(r.params)),
        "macs": Column("MACs (G)", lambda r: format_billions(r.macs)),
        "top1": Column("top-1", lambda r: format_accuracy(r.accuracy, spread)),
        "top5": Column("top-5", lambda r: format_accuracy(r.top5, spread)),
        "macro-f1": Column("macro F1", lambda r: format_accuracy(r.macro_f1, spread)),
        "diff": Column("diff", lambda r: format_difference(r, spread)),
        "p": Column("p", lambda r: format_p_value(r.joint.p if r.joint else None, r.level or stats.ALPHA)),
        "epochs": Column("epochs", lambda r: MISSING if r.epochs is None else str(r.epochs)),
        "precision": Column("precision", lambda r: r.precision or MISSING, right=False),
        "image-size": Column("px", lambda r: MISSING if r.image_size is None else str(r.image_size)),
        "params-added": Column("params +%", lambda r: format_overhead(r.params_pct)),
        "macs-added": Column("MACs +%", lambda r: format_overhead(r.macs_pct)),
        "train": Column("train", lambda r: format_ratio(r.train_ratio, r.train_limit)),
        "infer": Column("infer", lambda r: format_ratio(r.infer_ratio, r.infer_limit)),
        "latency": Column("ms/image", format_latency),
        "verdict": Column("verdict", lambda r: r.verdict, right=False),
    }


def sort_rows(rows: Sequence[ComparisonRow], key: str) -> list[ComparisonRow]:
    """Return the rows sorted within each dataset, backbone and recipe."""
    return sorted(rows, key=lambda r: ((r.images, r.backbone, r.recipe), SORT_KEYS[key](r)))
