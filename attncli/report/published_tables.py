"""Published figures as tables: one per source, and one that sets all sources beside what was measured here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from attncli.analysis.deviation import UNITS, PrintedFigure, PublishedFigure
from attncli.literature.published import PublishedRow
from attncli.report.table import MISSING, Column, render_rows, render_text_table
from attncli.system.terminal import fill_text

_FIGURES = {
    "params": "exact params", "params_m": "params", "gflops": "gflops", "top1": "top-1", "top5": "top-5",
    "err1": "err-1", "err5": "err-5", "error": "error", "miou": "mIoU", "miou_ms": "mIoU, scales", "map": "mAP",
    "map50": "mAP 0.5", "map70": "mAP 0.7", "box_ap": "box AP", "rank1": "rank-1", "infer_fps": "images/s",
}  # fmt: skip
_SETTINGS = {
    "variant": "{}", "basis": "{}", "reduction": "r = {}", "kernel_size": "k = {}", "experts": "{} experts",
    "frames": "{} frames", "img_size": "{} px", "pretrain": "from {}", "epochs": "{} epochs",
}  # fmt: skip
WORDS = {"params": "parameters", "macs": "MACs", "top1": "top-1"}
SHORT = WORDS | {"params": "params"}
MIN_DISAGREEMENT = 0.5  # %, or points: from here on sources that differ on one network are listed
NOTE = (
    "published: lowest to highest over the sources, parameters in millions (10^6, whatever unit the source uses), MACs "
    "in billions (papers print them as GFLOPs), top-1 in percent. ours: counted, or the mean of finished runs on the "
    "whole dataset. off: ours minus published, in percent, for accuracies in points; without sources that count ResNet "
    "v1, which is another network. Most sources count norms and activations too, about 1 % of a ResNet. ? not verified."
)


def render_published_rows(rows: Sequence[PublishedRow], width: int) -> str:
    """Return one table per source with the columns that the source has; notes and hardware are left out."""
    sources: dict[str, list[PublishedRow]] = {}
    for row in rows:
        sources.setdefault(row.source + (" (unverified)" if row.verified == "no" else ""), []).append(row)
    return "\n".join(
        f"\n{fill_text(source, width)}\n{_render_source(source_rows, width)}" for source, source_rows in sources.items()
    )


def _render_source(rows: Sequence[PublishedRow], width: int) -> str:
    keys = [key for key in _FIGURES if any(key in row.figures for row in rows)]
    return render_rows([_make_published_row(row, keys) for row in rows], width=width).rstrip("\n")


def _make_published_row(row: PublishedRow, keys: Sequence[str]) -> dict[str, Any]:
    settings = [form.format(row.figures[key]) for key, form in _SETTINGS.items() if key in row.figures]
    figures = {_FIGURES[key]: row.figures.get(key) for key in keys}
    return {"data": row.dataset, "backbone": row.backbone, "attn": ", ".join([row.attn, *settings]), **figures}


def render_deviations(figures: Sequence[PublishedFigure], width: int) -> str:
    """Return the table of all sources beside ours, then where sources differ, then what the columns mean."""
    disagreements = list_disagreements(figures)
    wrapped_lines = [fill_text(line, width, later="  ") for line in disagreements]
    heading = f"Sources that print the same network differently (by {MIN_DISAGREEMENT:g} % or points and more):"
    joined_lines = "\n".join(wrapped_lines)
    return "\n\n".join(
        [
            render_text_table(COLUMNS, list_figure_lines(figures), width=width, keys=(0, 2)).strip("\n"),
            *([f"{fill_text(heading, width)}\n\n{joined_lines}"] if wrapped_lines else []),
            fill_text(NOTE, width),
        ]
    )


def list_disagreements(figures: Sequence[PublishedFigure]) -> list[str]:
    """Return one line per figure that its sources print differently."""
    return [
        _format_disagreement(figure)
        for figure in figures
        if len(figure.printed) > 1 and figure.source_spread >= MIN_DISAGREEMENT
    ]


def _format_disagreement(figure: PublishedFigure) -> str:
    unit = "points" if figure.name == "top1" else "%"
    sources_by_text: dict[str, list[str]] = {}
    for printed in figure.printed:
        text = f"{printed.text}, ResNet v1" if figure.is_first_version(printed) else printed.text
        sources_by_text.setdefault(text, []).append(printed.source)
    values_text = "; ".join(
        f"{value} ({', '.join(dict.fromkeys(sources))})" for value, sources in sources_by_text.items()
    )
    spread = f"{figure.source_spread:.2g} {unit} apart"
    return f"{figure.network}, {figure.dataset}, {WORDS[figure.name]}: {spread}: {values_text}"


def format_published(figure: PublishedFigure) -> str:
    """Return the lowest and the highest printed figure."""
    values = sorted({_format_printed(p) for p in figure.printed}, key=float)
    doubt_mark = "" if any(p.verified for p in figure.printed) else " ?"
    return (values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}") + doubt_mark


def _format_printed(printed: PrintedFigure) -> str:
    return f"{printed.value:.4g}"


def format_own_figure(figure: PublishedFigure) -> str:
    """Return our figure; for an accuracy with its number of runs."""
    if figure.ours is None:
        return MISSING
    return f"{figure.ours:.4g}" + (f" (n {figure.n})" if figure.n else "")


def format_deviation(figure: PublishedFigure) -> str:
    """Return how far ours is from the sources."""
    if figure.deviation_range is None:
        return MISSING
    low, high = (f"{value:+.1f}".replace("-0.0", "0").replace("+0.0", "0") for value in figure.deviation_range)
    return low if low == high else f"{low} to {high}"


def _shorten_dataset(name: str) -> str:
    return name.replace("ImageNet-1k", "ImageNet")


class FigureLine(NamedTuple):
    """A figure, and whether it is the first of its network, which is then named."""

    figure: PublishedFigure
    is_first: bool


def list_figure_lines(figures: Sequence[PublishedFigure]) -> list[FigureLine]:
    """Return the figures, each with whether it is the first of its network."""
    networks = [(figure.network, figure.dataset) for figure in figures]
    networks_above = [None, *networks[:-1]]
    return [
        FigureLine(figure, network != above)
        for figure, network, above in zip(figures, networks, networks_above, strict=False)
    ]


COLUMNS: list[Column[FigureLine]] = [
    Column("network", lambda line: line.figure.network if line.is_first else "", right=False),
    Column("data", lambda line: _shorten_dataset(line.figure.dataset) if line.is_first else "", right=False),
    Column("figure", lambda line: f"{SHORT[line.figure.name]}, {UNITS[line.figure.name]}", right=False),
    Column("published", lambda line: format_published(line.figure)),
    Column("from", lambda line: str(len(line.figure.printed))),
    Column("ours", lambda line: format_own_figure(line.figure)),
    Column("off", lambda line: format_deviation(line.figure)),
]
