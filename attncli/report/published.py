"""Published figures as tables, one for each source."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from attncli.report.table import render
from attncli.survey.published import Row

_FIGURES = {
    "params": "exact params", "params_m": "params", "gflops": "gflops", "top1": "top-1", "top5": "top-5",
    "err1": "err-1", "err5": "err-5", "error": "error", "miou": "mIoU", "miou_ms": "mIoU, scales", "map": "mAP",
    "map50": "mAP 0.5", "map70": "mAP 0.7", "box_ap": "box AP", "rank1": "rank-1", "infer_fps": "images/s",
}  # fmt: skip
_SETTINGS = {
    "variant": "{}", "basis": "{}", "reduction": "r = {}", "kernel_size": "k = {}", "experts": "{} experts",
    "frames": "{} frames", "img_size": "{} px", "pretrain": "from {}", "epochs": "{} epochs",
}  # fmt: skip


def tables(rows: Sequence[Row], width: int) -> str:
    """The rows by source, each table with the columns that its source fills; notes and hardware are left out."""
    sources: dict[str, list[Row]] = {}
    for row in rows:
        sources.setdefault(row.source + (" (unverified)" if row.verified == "no" else ""), []).append(row)
    return "\n".join(f"\n{fill(source, width)}\n{_table(given, width)}" for source, given in sources.items())


def _table(rows: Sequence[Row], width: int) -> str:
    keys = [key for key in _FIGURES if any(key in row.figures for row in rows)]
    return render([_line(row, keys) for row in rows], width=width).rstrip("\n")


def _line(row: Row, keys: Sequence[str]) -> dict[str, Any]:
    settings = [form.format(row.figures[key]) for key, form in _SETTINGS.items() if key in row.figures]
    figures = {_FIGURES[key]: row.figures.get(key) for key in keys}
    return {"data": row.dataset, "backbone": row.backbone, "attn": ", ".join([row.attn, *settings]), **figures}
