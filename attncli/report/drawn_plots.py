"""Remember what plots were drawn of, so that a plot is drawn and attached again only if its figures changed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attncli
from attncli.system.files import write_atomically

DRAWN_FILE = "compare-plots.json"  # in the folder of runs: digest of what each plot shows, by the plot's file name
FIGURE_CODE = ("cost_figures.py", "difference_figures.py", "variant_style.py", "layout.py", "style.py")


def make_plot_key(rows: Sequence[Mapping[str, Any]], *settings: str) -> str:
    """Return a digest of everything that a plot shows: rows, settings, and the code that draws it."""
    digest = hashlib.sha256(json.dumps([attncli.__version__, settings, rows], default=str, sort_keys=True).encode())
    for name in FIGURE_CODE:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:16]


def is_plot_current(plot: Path, key: str) -> bool:
    """Return whether a plot is there and shows what the key stands for."""
    return plot.is_file() and _read_keys(plot.parent).get(plot.name) == key


def remember_plot(plot: Path, key: str) -> None:
    """Write down what a plot shows; a folder that cannot be written costs only the time to draw it again."""
    with suppress(OSError):
        keys = _read_keys(plot.parent) | {plot.name: key}
        write_atomically(plot.parent / DRAWN_FILE, json.dumps(keys, indent=1) + "\n")


def _read_keys(folder: Path) -> dict[str, str]:
    try:
        keys = json.loads((folder / DRAWN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return keys if isinstance(keys, dict) else {}
