"""`attncli ls`: list mechanisms, backbones, which fits which, datasets, recipes or runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from attncli.commands._options import (
    echo_json,
    json_option,
    store_options,
    warn_of_unreadable_runs,
    wrap_with_label,
)
from attncli.commands._value_types import NAMES
from attncli.errors import UserError, unknown_name_error
from attncli.system.terminal import find_terminal_width

KINDS = ("attention", "backbones", "matrix", "data", "recipes", "runs")
OTHER_WORDS = {"mechanisms": "attention", "networks": "backbones", "datasets": "data", "sweeps": "recipes"}
SORT_KEYS = ("name", "category", "site", "year", "params")
RESNET50_PARAMETERS = 25_557_032
LEAST_TITLE = 12  # characters of a title that is cut
FREE_SHARE = 0.001  # of resnet50's parameters: what adds less is free


class KindOfName(click.Choice):  # type: ignore[type-arg]  # only later clicks give it one
    """What `ls` lists; other words for it are taken too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the kind. Raises UserError for an unknown one, with the nearest."""
        word = OTHER_WORDS.get(value, value)
        if word not in KINDS:
            raise unknown_name_error("list", value, (*KINDS, *OTHER_WORDS))
        return word


@click.command()
@click.argument("kind", type=KindOfName(KINDS), required=False)
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
    filters = MechanismFilters(category or (), site or (), _parse_years(year), peer or (), free)
    if kind != "attention" and (filters != MechanismFilters() or sort_key):
        raise UserError("filters and --sort are for mechanisms", "attncli ls attention --year 2021-")
    listing = {
        "attention": lambda: _collect_mechanisms(filters, sort_key),
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
        rows = _clip_column([{key: row[key] for key in shown} for row in rows], "title")
    print_rows(rows, empty="no mechanism passes these filters" if kind == "attention" else f"no {kind} yet")
    if kind == "backbones":
        click.echo(wrap_with_label("timm/NAME: ", "any network of timm (pip install 'attncli[timm]')"))
    return None


def _count_recipes_and_runs(runs: Path) -> dict[str, int]:
    """Return how many recipes, sweeps and folders of runs there are."""
    from attncli.recipe.library import list_recipe_files

    names = {"recipes": list_recipe_files("recipe"), "sweeps": list_recipe_files("sweep")}
    return {kind: len(files) for kind, files in names.items()} | {"runs": sum(1 for _ in runs.glob("*/recipe.yaml"))}


def _clip_column(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the rows with one text cut so that each fits a line of the terminal; `--json` prints all of it.

    A title that is too long is cut at its colon if the name before it fits.
    """
    if not rows:
        return []
    other_widths = [max(len(str(row[k])) for row in (*rows, {k: k})) for k in rows[0] if k != key]
    room = find_terminal_width() - 2  # without the blanks at both ends
    choices = (
        room - sum(other_widths) - 2 * len(other_widths),
        room - sum(other_widths) - len(other_widths),  # with one blank between columns
        room - other_widths[0] - 1,  # beside the names alone
    )
    column_width = next((width for width in choices if width >= LEAST_TITLE), LEAST_TITLE)
    return [row | {key: _clip_title(row[key], column_width)} for row in rows]


def _clip_title(title: str, width: int) -> str:
    """Return a title in at most `width` characters."""
    name = title.partition(":")[0]
    if len(title) <= width or len(name) <= width:
        return title if len(title) <= width else name
    return title[: width - 1].rstrip() + "…"


@dataclass(frozen=True)
class MechanismFilters:
    """Which mechanisms to list; an empty filter lets all pass. `years` is (first, last), both included."""

    categories: Sequence[str] = ()
    sites: Sequence[str] = ()
    years: tuple[int, int] | None = None
    peers: Sequence[str] = ()
    free: bool = False


def _parse_years(text: str | None) -> tuple[int, int] | None:
    """Return (first, last) of `2021`, `2019-2021`, `2021-` or `-2019`. Raises UserError for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{4})|(\d{4})?-(\d{4})?", text.strip())
    if not found or text.strip() == "-":
        raise UserError(f"--year {text}: no year or range of years", "for example 2021, 2019-2021, 2021- or -2019")
    year, first, last = found.groups()
    return (int(year or first or 0), int(year or last or 9999))


def _collect_mechanisms(
    filters: MechanismFilters = MechanismFilters(),
    sort_key: str | None = None,
) -> list[dict[str, Any]]:
    """Return the rows that pass the filters, sorted if a key is given; without filters the plain network too."""
    from attncli import attention
    from attncli.backbones import compatibility

    added = compatibility.load_added_parameters()
    plain_row = {
        "name": attention.NONE,
        "category": "-",
        "site": "-",
        "title": "the plain network",
        "year": None,
        "params": 0,
    }
    mechanisms = [attention.describe_mechanism(name) for name in attention.mechanism_names()]
    rows = [
        {
            "name": m.name,
            "category": m.category,
            "site": m.card.site,
            "title": m.card.title,
            "year": m.card.year,
            "params": added.get(m.name, {}).get("resnet50"),
            "aliases": list(m.card.aliases),
        }
        for m in mechanisms
    ]
    rows = _filter_rows(rows, filters)
    if filters == MechanismFilters():
        rows = [plain_row | {"aliases": []}, *rows]
    if sort_key:
        rows.sort(key=lambda row: (row[sort_key] is None, row[sort_key]))
    return rows


def _filter_rows(rows: list[dict[str, Any]], filters: MechanismFilters) -> list[dict[str, Any]]:
    from attncli import attention
    from attncli.attention.card import SITES
    from attncli.literature.peers import find_peer

    for kind, names, known in (
        ("category", filters.categories, (*attention.CATEGORIES, "own")),
        ("site", filters.sites, SITES),
    ):
        for name in names:
            if name not in known:
                raise unknown_name_error(kind, name, known)
    had_by_peers = {name for peer in filters.peers for name in find_peer(peer).mechanisms}
    first, last = filters.years or (0, 9999)
    return [
        row
        for row in rows
        if (not filters.categories or row["category"] in filters.categories)
        and (not filters.sites or row["site"] in filters.sites)
        and first <= row["year"] <= last
        and (not filters.peers or row["name"] in had_by_peers)
        and (not filters.free or (row["params"] is not None and 0 <= row["params"] < FREE_SHARE * RESNET50_PARAMETERS))
    ]


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
