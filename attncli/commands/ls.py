"""`attncli ls`: list mechanisms, backbones, which fits which, datasets, recipes or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from attncli.commands._mechanism_rows import (
    SORT_KEYS,
    MechanismFilters,
    clip_titles,
    collect_mechanisms,
    parse_years,
)
from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.commands._run_options import store_options, warn_of_unreadable_runs
from attncli.commands._value_types import NAMES
from attncli.errors import UserError, unknown_name_error
from attncli.system.terminal import find_terminal_width

KINDS = ("attention", "backbones", "matrix", "data", "recipes", "runs")
OTHER_WORDS = {"mechanisms": "attention", "networks": "backbones", "datasets": "data", "sweeps": "recipes"}


class ListingKind(click.Choice):  # type: ignore[type-arg]  # only later clicks give it one
    """What `ls` lists; other words for it are taken too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the kind. Raises UserError for an unknown one, with the nearest."""
        word = OTHER_WORDS.get(value, value)
        if word not in KINDS:
            raise unknown_name_error("list", value, (*KINDS, *OTHER_WORDS))
        return word


@click.command()
@click.argument("kind", type=ListingKind(KINDS), required=False)
@click.option("--category", type=NAMES, metavar="NAMES", help="Mechanisms of these categories only.")
@click.option("--site", type=NAMES, metavar="NAMES", help="Mechanisms at these sites only.")
@click.option("--year", metavar="YEARS", help="Mechanisms of 2021, 2019-2021, 2021- or -2019 only.")
@click.option("--peer", type=NAMES, metavar="NAMES", help="Mechanisms that these collections have, such as timm.")
@click.option("--free", is_flag=True, help="Mechanisms that add under 0.1 % of resnet50's parameters only.")
@click.option("--sort", "sort_key", type=click.Choice(SORT_KEYS), help="What the mechanisms are sorted by.")
@store_options
@json_option
def command(
    kind: str | None,
    category: list[str] | None,
    site: list[str] | None,
    year: str | None,
    peer: list[str] | None,
    free: bool,
    sort_key: str | None,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """List the mechanisms, backbones, datasets, recipes or runs; without a word, print how many there are of each.

    `matrix` shows which mechanism fits which backbone, and why the others do not. The filters and `--sort` are for
    `attention`; `params` there are what a mechanism adds to resnet50. Those of `backbones` are for 1000 classes, for
    CIFAR's networks 10.

    More in `attncli help mechanisms` and `attncli help backbones`.

    \b
    Example:
      attncli ls attention
      attncli ls attention --year 2021- --free --sort year
      attncli ls matrix
      attncli ls runs --json
    """
    filters = MechanismFilters(category or (), site or (), parse_years(year), peer or (), free)
    if kind != "attention" and (filters != MechanismFilters() or sort_key):
        raise UserError("filters and --sort are for mechanisms", "attncli ls attention --year 2021-")
    listing = {
        "attention": lambda: collect_mechanisms(filters, sort_key),
        "backbones": _collect_backbones,
        "matrix": _collect_matrix,
        "data": _collect_datasets,
        "recipes": _collect_recipes,
        "runs": lambda: _collect_runs(runs, tracking_uri),
    }
    if kind is None:
        counts = {k: len(rows()) for k, rows in listing.items() if k not in ("runs", "matrix", "recipes")}
        counts["attention"] -= 1  # without none, the plain network
        counts |= _count_recipes_and_runs(runs)
        if as_json:
            return echo_json(counts)
        return click.echo("\n".join(_format_count(kind_, count) for kind_, count in counts.items()))
    rows = listing[kind]()
    return echo_json(rows) if as_json else _print_listing(kind, rows)


def _format_count(kind: str, count: int) -> str:
    """Return a line of the overview, such as `   3 recipes`, or `   1 recipe`."""
    return f"{count:4} {kind.removesuffix('s') if count == 1 else kind}"


def _print_listing(kind: str, rows: list[dict[str, Any]]) -> None:
    """Print what `ls` lists as a table; each kind has its own columns."""
    from attncli.report.table import print_rows

    if kind == "matrix":
        from attncli.report import compatibility_table

        return click.echo(compatibility_table.render_compatibility(find_terminal_width()))
    if kind == "backbones":
        rows = [row | {"params": f"{row['params']:>11,}", "sites": summarize_sites(row["sites"])} for row in rows]
    if kind == "runs":
        rows = [_shorten_run_row(row) for row in rows]
    if kind == "recipes":
        rows = [{key: value for key, value in row.items() if key != "recipe"} for row in rows]
    if kind == "attention":
        shown = ("name", "category", "site", "year", "params", "title")
        rows = clip_titles([{key: row[key] for key in shown} for row in rows])
    print_rows(rows, empty="no mechanism passes these filters" if kind == "attention" else f"no {kind} yet")
    if kind == "backbones":
        click.echo(wrap_with_label("timm/NAME: ", "any network of timm (pip install 'attncli[timm]')"))
    return None


def _count_recipes_and_runs(runs: Path) -> dict[str, int]:
    """Return how many recipes, sweeps and folders of runs there are."""
    from attncli.recipe.library import list_recipe_files

    names = {"recipes": list_recipe_files("recipe"), "sweeps": list_recipe_files("sweep")}
    return {kind: len(files) for kind, files in names.items()} | {"runs": sum(1 for _ in runs.glob("*/recipe.yaml"))}


def _collect_backbones() -> list[dict[str, Any]]:
    from attncli import backbones
    from attncli.backbones import compatibility

    return [
        {
            "name": name,
            "family": backbones.find_family(name),
            "params": compatibility.load_backbone_parameters().get(name),
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
        "top-1": row["status"].lower() if accuracy is None else f"{100 * accuracy:.2f}",
        "started": datetime.fromtimestamp(started_ms / 1000).strftime("%m-%d %H:%M") if started_ms else None,
        "time": None if seconds is None else format_duration(seconds),
    }


def _collect_runs(runs: Path, tracking_uri: str | None) -> list[dict[str, Any]]:
    from attncli.runs import RunStore, list_run_overviews

    overviews = list_run_overviews(RunStore(runs, tracking_uri), warn_of_unreadable_runs)
    return [vars(overview) for overview in overviews]
