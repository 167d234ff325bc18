"""The mechanisms that `attncli ls attention` lists: their filters, their order, and titles that fit the terminal."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from attncli.errors import UserError, unknown_name_error
from attncli.system.terminal import find_terminal_width

SORT_KEYS = ("name", "category", "site", "year", "params")
RESNET50_PARAMETERS = 25_557_032
FREE_SHARE = 0.001  # of resnet50's parameters: what adds less is free
LEAST_TITLE = 12  # characters of a title that is cut


@dataclass(frozen=True)
class MechanismFilters:
    """Which mechanisms to list; an empty filter lets all pass. `years` is (first, last), both included."""

    categories: Sequence[str] = ()
    sites: Sequence[str] = ()
    years: tuple[int, int] | None = None
    peers: Sequence[str] = ()
    free: bool = False


def parse_years(text: str | None) -> tuple[int, int] | None:
    """Return (first, last) of `2021`, `2019-2021`, `2021-` or `-2019`. Raises UserError for anything else."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{4})|(\d{4})?-(\d{4})?", text.strip())
    if not match or text.strip() == "-":
        raise UserError(f"--year {text}: no year or range of years", "for example 2021, 2019-2021, 2021- or -2019")
    year, first, last = match.groups()
    return (int(year or first or 0), int(year or last or 9999))


def collect_mechanisms(
    filters: MechanismFilters = MechanismFilters(), sort_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows that pass the filters, sorted if a key is given; without filters the plain network too.

    Raises UserError for an unknown name in a filter.
    """
    from attncli import attention
    from attncli.backbones import compatibility

    added_parameters = compatibility.load_added_parameters()
    mechanisms = [attention.describe_mechanism(name) for name in attention.mechanism_names()]
    rows = [
        {
            "name": m.name,
            "category": m.category,
            "site": m.card.site,
            "title": m.card.title,
            "year": m.card.year,
            "params": added_parameters.get(m.name, {}).get("resnet50"),
            "aliases": list(m.card.aliases),
        }
        for m in mechanisms
    ]
    rows = _filter_rows(rows, filters)
    if filters == MechanismFilters():
        plain_row = {"name": attention.NONE, "category": "-", "site": "-", "title": "the plain network"}
        rows = [plain_row | {"year": None, "params": 0, "aliases": []}, *rows]
    if sort_key:
        rows.sort(key=lambda row: (row[sort_key] is None, row[sort_key]))
    return rows


def _filter_rows(rows: list[dict[str, Any]], filters: MechanismFilters) -> list[dict[str, Any]]:
    from attncli import attention
    from attncli.attention.card import SITES
    from attncli.literature.peers import find_peer

    _require_known("category", filters.categories, (*attention.CATEGORIES, "own"))
    _require_known("site", filters.sites, SITES)
    had_by_peers = {name for peer in filters.peers for name in find_peer(peer).mechanisms}
    first_year, last_year = filters.years or (0, 9999)
    return [
        row
        for row in rows
        if (not filters.categories or row["category"] in filters.categories)
        and (not filters.sites or row["site"] in filters.sites)
        and first_year <= row["year"] <= last_year
        and (not filters.peers or row["name"] in had_by_peers)
        and (not filters.free or _is_free(row["params"]))
    ]


def _require_known(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    """Raise UserError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise unknown_name_error(kind, name, known)


def _is_free(parameters: int | None) -> bool:
    """Return whether a mechanism adds next to nothing to resnet50; one that takes something away is not free."""
    return parameters is not None and 0 <= parameters < FREE_SHARE * RESNET50_PARAMETERS


def clip_titles(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their titles cut so that each fits a line of the terminal; `--json` prints all of it.

    A title that is too long is cut at its colon if the name before it fits.
    """
    if not rows:
        return []
    other_widths = [max(len(str(row[k])) for row in (*rows, {k: k})) for k in rows[0] if k != "title"]
    room = find_terminal_width() - 2  # without the blanks at both ends
    choices = (
        room - sum(other_widths) - 2 * len(other_widths),
        room - sum(other_widths) - len(other_widths),  # with one blank between columns
        room - other_widths[0] - 1,  # beside the names alone
    )
    title_width = next((width for width in choices if width >= LEAST_TITLE), LEAST_TITLE)
    return [row | {"title": _clip_title(row["title"], title_width)} for row in rows]


def _clip_title(title: str, width: int) -> str:
    """Return a title in at most `width` characters."""
    name = title.partition(":")[0]
    if len(title) <= width or len(name) <= width:
        return title if len(title) <= width else name
    return title[: width - 1].rstrip() + "…"
