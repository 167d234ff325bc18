"""`attncli ls`: mechanisms, backbones, which fits which, data sets, recipes and runs, listed."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from attncli.commands.options import echo_json, json_option, store_options

KINDS = ("attention", "backbones", "matrix", "data", "recipes", "runs")


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@store_options
@json_option
def command(kind: str | None, runs: Path, tracking_uri: str | None, as_json: bool) -> None:
    """List the mechanisms, backbones, datasets, recipes or runs; without a word, how many there are of each.

    `matrix` shows which mechanism fits which backbone, and why the others do not.

    \b
    Example:
      attncli ls attention
      attncli ls matrix
      attncli ls runs --json
    """
    listing = {
        "attention": _attention,
        "backbones": _backbones,
        "matrix": _matrix,
        "data": _data,
        "recipes": _recipes,
        "runs": lambda: _runs(runs, tracking_uri),
    }
    if kind is None:
        counts = {k: len(rows()) for k, rows in listing.items() if k not in ("runs", "matrix")}
        return echo_json(counts) if as_json else click.echo("\n".join(f"{n:4} {k}" for k, n in counts.items()))
    rows = listing[kind]()
    if as_json:
        return echo_json(rows)
    if kind == "matrix":
        from attncli.report import matrix

        return click.echo(matrix.text(shutil.get_terminal_size().columns))
    if kind == "backbones":
        rows = [row | {"sites": summary(row["sites"])} for row in rows]
    from attncli.report.table import show

    show(_clipped(rows, "title") if kind == "attention" else rows, empty=f"no {kind} yet")
    if kind == "backbones":
        click.echo("timm/NAME: any of timm's, sites found by structure (pip install 'attncli[timm]')")
    return None


def _clipped(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The rows with one text cut so that each fits a line of the terminal; `--json` has all of it."""
    others = [max(len(str(row[k])) for row in (*rows, {k: k})) + 2 for k in rows[0] if k != key]
    room = max(shutil.get_terminal_size().columns - sum(others) - 2, 12)
    return [row | {key: row[key] if len(row[key]) <= room else row[key][: room - 1] + "…"} for row in rows]


def _attention() -> list[dict[str, Any]]:
    from attncli import attention

    none = {"name": attention.NONE, "category": "-", "site": "-", "title": "the plain network", "year": None}
    described = [attention.describe(name) for name in attention.names()]
    return [none] + [
        {"name": m.name, "category": m.category, "site": m.card.site, "title": m.card.title, "year": m.card.year}
        for m in described
    ]


def _backbones() -> list[dict[str, Any]]:
    from attncli import backbones
    from attncli.backbones import fits

    return [
        {"name": name, "family": backbones.family(name), "sites": [*fits.found()[name].sites]}
        for name in backbones.names()
    ]


def summary(available: Sequence[str]) -> str:
    """The sites of a backbone in a few words: those that it lacks, and attention that is built in."""
    from attncli.attention.card import SITES

    lacking = [site for site in SITES if site != "model" and site not in available]
    built_in = [site for site in available if site not in SITES]
    return "; ".join([f"all but {', '.join(lacking)}" if lacking else "all", *built_in])


def _matrix() -> list[dict[str, Any]]:
    from attncli.report import matrix

    return matrix.rows()


def _data() -> list[dict[str, Any]]:
    from attncli import data

    return [{"name": name, "what": what} for name, what in data.NAMES.items()]


def _recipes() -> list[dict[str, Any]]:
    """Every YAML file below recipes/, with the first sentence of its opening comment."""
    return [{"recipe": str(p), "what": _opening(p)} for p in sorted(Path("recipes").rglob("*.yaml"))]


def _opening(path: Path) -> str:
    first = path.read_text(encoding="utf-8").splitlines()[:1]
    return first[0].lstrip("# ") if first and first[0].startswith("#") else ""


def _runs(folder: Path, uri: str | None) -> list[dict[str, Any]]:
    from attncli import track

    keys = ("digest", "status", "dataset", "backbone", "attn", "seed", "epochs", "test_top1")
    return [{k: row.get(k) for k in keys} for row in track.rows(uri, folder)]
