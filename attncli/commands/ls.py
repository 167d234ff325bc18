"""`attncli ls`: list mechanisms, backbones, which fits which, datasets, recipes or runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from attncli.commands._options import echo_json, json_option, store_options

KINDS = ("attention", "backbones", "matrix", "data", "recipes", "runs")


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@store_options
@json_option
def command(kind: str | None, runs: Path, tracking_uri: str | None, as_json: bool) -> None:
    """List the mechanisms, backbones, datasets, recipes or runs; without a word, print how many there are of each.

    `matrix` shows which mechanism fits which backbone, and why the others do not.

    More in `attncli help mechanisms` and `attncli help backbones`.

    \b
    Example:
      attncli ls attention
      attncli ls matrix
      attncli ls runs --json
    """
    listing = {
        "attention": _collect_mechanisms,
        "backbones": _collect_backbones,
        "matrix": _collect_matrix,
        "data": _collect_datasets,
        "recipes": _collect_recipes,
        "runs": lambda: _collect_runs(runs, tracking_uri),
    }
    if kind is None:
        counts = {k: len(rows()) for k, rows in listing.items() if k not in ("runs", "matrix")}
        return echo_json(counts) if as_json else click.echo("\n".join(f"{n:4} {k}" for k, n in counts.items()))
    rows = listing[kind]()
    if as_json:
        return echo_json(rows)
    if kind == "matrix":
        from attncli.report import compatibility_table

        return click.echo(compatibility_table.render_compatibility(shutil.get_terminal_size().columns))
    if kind == "backbones":
        rows = [row | {"sites": summarize_sites(row["sites"])} for row in rows]
    if kind == "runs":
        rows = [_shorten_run_row(row) for row in rows]
    if kind == "recipes":
        rows = [{key: value for key, value in row.items() if key != "recipe"} for row in rows]
    from attncli.report.table import print_rows

    print_rows(_clip_column(rows, "title") if kind == "attention" else rows, empty=f"no {kind} yet")
    if kind == "backbones":
        click.echo("timm/NAME: any network of timm (pip install 'attncli[timm]')")
    return None


def _clip_column(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the rows with one text cut so that each fits a line of the terminal; `--json` prints all of it."""
    other_widths = [max(len(str(row[k])) for row in (*rows, {k: k})) + 2 for k in rows[0] if k != key]
    column_width = max(shutil.get_terminal_size().columns - sum(other_widths) - 2, 12)
    return [
        row | {key: row[key] if len(row[key]) <= column_width else row[key][: column_width - 1] + "…"} for row in rows
    ]


def _collect_mechanisms() -> list[dict[str, Any]]:
    from attncli import attention

    plain_row = {"name": attention.NONE, "category": "-", "site": "-", "title": "the plain network", "year": None}
    mechanisms = [attention.describe_mechanism(name) for name in attention.mechanism_names()]
    return [plain_row] + [
        {"name": m.name, "category": m.category, "site": m.card.site, "title": m.card.title, "year": m.card.year}
        for m in mechanisms
    ]


def _collect_backbones() -> list[dict[str, Any]]:
    from attncli import backbones
    from attncli.backbones import compatibility

    return [
        {
            "name": name,
            "family": backbones.find_family(name),
            "sites": compatibility.list_sites(name),
        }
        for name in backbones.backbone_names()
    ]


def summarize_sites(available: Sequence[str] | None) -> str:
    """Return the sites of a backbone in a few words: those that it lacks, and attention that is built in."""
    from attncli.attention.card import SITES

    if available is None:
        return "unknown (make generate)"
    lacking = [site for site in SITES if site != "model" and site not in available]
    built_in = [site for site in available if site not in SITES]
    return "; ".join([f"all but {', '.join(lacking)}" if lacking else "all", *built_in])


def _collect_matrix() -> list[dict[str, Any]]:
    from attncli.report import compatibility_table

    return compatibility_table.list_compatibility_rows()


def _collect_datasets() -> list[dict[str, Any]]:
    from attncli import data

    return [{"name": name, "what": what} for name, what in data.DATASETS.items()]


def _collect_recipes() -> list[dict[str, Any]]:
    """Return every recipe and sweep: its file, its name, and the first line of its opening comment."""
    from attncli.recipe.library import iterate_openings

    return [
        {"recipe": str(path), "name": name, "kind": kind, "what": what} for kind, name, path, what in iterate_openings()
    ]


def _shorten_run_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a line about a run shows: its name, images, state, accuracy in percent, date and duration."""
    from datetime import datetime

    from attncli.report.run_progress import format_duration

    accuracy, started_ms, seconds = row["test_top1"], row["started_ms"], row["seconds"]
    return {
        "run": row["name"],
        "digest": row["digest"],
        "images": row["images"],
        "epochs": row["epochs"],
        "status": row["status"].lower(),
        "top-1": None if accuracy is None else f"{100 * accuracy:.2f}",
        "started": datetime.fromtimestamp(started_ms / 1000).strftime("%m-%d %H:%M") if started_ms else None,
        "time": None if seconds is None else format_duration(seconds),
    }


def _collect_runs(runs: Path, tracking_uri: str | None) -> list[dict[str, Any]]:
    from attncli.runs import RunStore, list_run_overviews

    return [vars(overview) for overview in list_run_overviews(RunStore(runs, tracking_uri))]
