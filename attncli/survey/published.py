"""Published figures as data: one row a figure, with its source and where it was verified."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FIGURES = (
    "params", "params_m", "gflops", "top1", "top5", "err1", "err5", "error", "train_fps", "infer_fps", "miou", "map",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A published figure or a line of a published table; `figures` by name, percentages as printed there."""

    dataset: str
    backbone: str
    attn: str
    figures: dict[str, Any]
    source: str
    verified: str  # where the figure was seen; "no" where it was quoted from memory or from a single mention
    card: str  # the mechanism whose file holds it


@cache
def rows() -> tuple[Row, ...]:
    """All rows of all files."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = []
    for path in sorted((Path(__file__).parent / "published").glob("*.yaml")):
        for item in yaml.load(path.read_text(encoding="utf-8"), Loader=loader):
            named = {k: str(item.pop(k)) for k in ("dataset", "backbone", "attn", "source", "verified")}
            found.append(Row(figures=item, card=path.stem, **named))
    return tuple(found)


def of(attn: str) -> list[Row]:
    """The rows about one mechanism, and those of its own file about what it is compared with."""
    return [r for r in rows() if r.attn == attn or r.attn.startswith((attn + " ", attn + "-")) or r.card == attn]
