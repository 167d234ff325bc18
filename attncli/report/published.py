"""Published figures as tables, one for each source."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from attncli.literature.published import PublishedRow
from attncli.report.table import render_rows

_FIGURES = {
    "params": "exact params", "params_m": "params", "gflops": "gflops", "top1": "top-1", "top5": "top-5",
    "err1": "err-1", "err5": "err-5", "error": "error", "miou": "mIoU", "miou_ms": "mIoU, scales", "map": "mAP",
    "map50": "mAP 0.5", "map70": "mAP 0.7", "box_ap": "box AP", "rank1": "rank-1", "infer_fps": "images/s",
}  # fmt: skip
_SETTINGS = {
    "variant": "{}", "basis": "{}", "reduction": "r = {}", "kernel_size": "k = {}", "experts": "{} experts",
    "frames": "{} frames", "img_size": "{} px", "pretrain": "from {}", "epochs": "{} epochs",
}  # fmt: skip


def render_published_rows(rows: Sequence[PublishedRow], width: int) -> str:
    """The rows by source, each table with the columns that its source fills; notes and hardware are left out."""
    sources: dict[str, list[PublishedRow]] = {}
    for row in rows:
        sources.setdefault(row.source + (" (unverified)" if row.verified == "no" else ""), []).append(row)
    return "\n".join(
        f"\n{fill(source, width)}\n{_render_source(source_rows, width)}" for source, source_rows in sources.items()
    )


def _render_source(rows: Sequence[PublishedRow], width: int) -> str:
    keys = [key for key in _FIGURES if any(key in row.figures for row in rows)]
    return render_rows([_make_published_row(row, keys) for row in rows], width=width).rstrip("\n")


def _make_published_row(row: PublishedRow, keys: Sequence[str]) -> dict[str, Any]:
    settings = [form.format(row.figures[key]) for key, form in _SETTINGS.items() if key in row.figures]
    figures = {_FIGURES[key]: row.figures.get(key) for key in keys}
    return {"data": row.dataset, "backbone": row.backbone, "attn": ", ".join([row.attn, *settings]), **figures}
