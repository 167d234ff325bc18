"""The attention mechanisms: found by file name, described without importing torch, loaded on demand.

A mechanism is one file in a category's folder with two names, `card` and `Attention`. Others can be added
by path (`--attn ./mine.py`) or by an installed package with an entry point in the group `attncli.attention`.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

from attncli import source
from attncli.attention.card import FACTS, SITES, Card
from attncli.errors import UserError, unknown

CATEGORIES = ("channel", "spatial", "temporal", "branch", "channel-spatial", "self-attention")
NONE = "none"
GROUP = "attncli.attention"


@dataclass(frozen=True)
class Mechanism:
    """A mechanism as its file describes it: facts it asks of the place, options it lets a recipe set."""

    name: str
    category: str
    path: Path
    doc: str
    card: Card
    facts: tuple[str, ...]
    options: dict[str, source.Parameter]


@cache
def _files() -> dict[str, tuple[str, Path]]:
    here = Path(__file__).parent
    return {
        path.stem.replace("_", "-"): (category, path)
        for category in CATEGORIES
        for path in sorted((here / category.replace("-", "_")).glob("*.py"))
        if path.stem != "__init__"
    }


@cache
def _entry_points() -> dict[str, Path]:
    found = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        with suppress(ImportError, ValueError):  # a broken package is no reason to hide the others
            spec = importlib.util.find_spec(entry.value.partition(":")[0])
            if spec is not None and spec.origin is not None:
                found[entry.name] = Path(spec.origin)
    return found


def names() -> tuple[str, ...]:
    """Every mechanism by name, ours and those of installed packages, without `none`."""
    return (*_files(), *sorted(_entry_points().keys() - _files().keys()))


def is_file(name: str) -> bool:
    """Whether `name` means a file of the user's own, such as ./mine.py."""
    return name.endswith(".py")


def is_own(name: str) -> bool:
    """Whether the mechanism `name` is a user's own file or another package's."""
    return name != NONE and locate(name)[0] == "own"


def locate(name: str) -> tuple[str, Path]:
    """(category, file) of a mechanism. Raises UserError for an unknown name, with the nearest known one."""
    if is_file(name):
        return "own", Path(name).expanduser()
    if name in _files():
        return _files()[name]
    if name in _entry_points():
        return "own", _entry_points()[name]
    raise unknown("attention", name, (*names(), NONE))


def describe(name: str) -> Mechanism:
    """The mechanism `name` (a known name or a path), read from its file without running it.

    Raises UserError where the file lacks `card` or `Attention`, or where either is malformed.
    """
    return _described(name, _state(name))


def _state(name: str) -> tuple[int, int]:
    """What changes when a user's own file does: a process that goes on for long reads it again then."""
    try:
        status = Path(name).expanduser().stat() if is_file(name) else None
    except OSError:  # whoever reads it tells
        status = None
    return (status.st_mtime_ns, status.st_size) if status else (0, 0)


@lru_cache(maxsize=256)
def _described(name: str, _: tuple[int, int]) -> Mechanism:
    category, path = locate(name)
    tree = source.parse(path)
    card = source.assigned(tree, "card")
    init = _constructor(tree, path)
    if card is None or init is None:
        lacks = "card = Card(...)" if card is None else "class Attention(nn.Module)"
        raise UserError(f"{path}: no `{lacks}`", "a mechanism's file has both; `attncli show eca` names one to copy")
    facts, options = init
    for fact in facts:
        if fact not in FACTS:
            raise unknown("fact of a place", fact, FACTS, where=f"{path}: Attention.__init__")
    return Mechanism(
        path.stem if is_file(name) else name,
        category,
        path,
        ast.get_docstring(tree) or "",
        _card(card, path),
        tuple(facts),
        options,
    )


def _constructor(tree: ast.Module, path: Path) -> tuple[list[str], dict[str, source.Parameter]] | None:
    try:
        return source.constructor(tree, "Attention")
    except UserError as error:
        raise UserError(f"{path}, {error.problem}", error.hint) from error


def _card(node: ast.expr, path: Path) -> Card:
    """The Card that a file writes down as a call with literal arguments."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Card"):
        raise UserError(f"{path}: `card` is not a Card(...)", "write card = Card(title=..., site=..., ...)")
    try:
        card = Card(**{k.arg or "": ast.literal_eval(k.value) for k in node.keywords})
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: card: {error}", "a card holds literal values only, each under a known name"
        ) from error
    for site in (card.site, card.mobile_site or card.site, *card.sites):
        if site not in SITES:
            raise unknown("site", site, SITES, where=f"{path}: card")
    return card


def load(name: str) -> ModuleType:
    """The module of a mechanism, with `card` and `Attention`. Imports torch.

    Raises UserError where a user's own file fails on import.
    """
    return _loaded(name, _state(name))


@lru_cache(maxsize=256)
def _loaded(name: str, _: tuple[int, int]) -> ModuleType:
    category, path = locate(name)
    if category != "own":
        return importlib.import_module(f"attncli.attention.{category.replace('-', '_')}.{path.stem}")
    describe(name)
    spec = importlib.util.spec_from_file_location(f"attncli_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: cannot be imported", "give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        place = source.place_of(error, path)
        raise UserError(f"{place}: fails on import: {type(error).__name__}: {error}", "mend the file") from error
    return module
