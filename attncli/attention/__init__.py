"""The attention mechanisms: found by file name, described without importing torch, loaded on demand.

A mechanism is one file in a category's folder with two names, `card` and `Attention`. Users add others by path
(`--attn ./mine.py`) or by an installed package with an entry point in the group `attncli.attention`.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

from attncli.attention.card import SITE_ARGUMENTS, SITES, Card
from attncli.errors import UserError, unknown_name_error
from attncli.system import source_inspection
from attncli.system.files import expand_user_path
from attncli.system.local_imports import find_local_modules, find_package_modules

CATEGORIES = ("channel", "spatial", "temporal", "branch", "channel-spatial", "self-attention")
NONE = "none"
ENTRY_POINT_GROUP = "attncli.attention"


@dataclass(frozen=True)
class Mechanism:
    """A mechanism as its file describes it.

    `site_arguments` are the constructor arguments that the site sets, `options` those that a recipe may set.
    """

    name: str
    category: str
    path: Path
    doc: str
    card: Card
    site_arguments: tuple[str, ...]
    options: dict[str, source_inspection.ConstructorParameter]

    @property
    def is_whole_network(self) -> bool:
        """Whether the mechanism is the whole network and needs no backbone."""
        return self.card.site == "model"

    @property
    def needs_clips(self) -> bool:
        """Whether the mechanism works on the frames of clips, and not on still images."""
        return self.card.site.startswith("frames")


def _name_by_stem(stem: str) -> str:
    """Return the mechanism of a file name: `_` is `-`, and one at the end keeps the name off a keyword (`lambda_`)."""
    return stem.removesuffix("_").replace("_", "-")


@cache
def _find_own_files() -> dict[str, tuple[str, Path]]:
    folder = Path(__file__).parent
    return {
        _name_by_stem(path.stem): (category, path)
        for category in CATEGORIES
        for path in sorted((folder / category.replace("-", "_")).glob("*.py"))
        if path.stem != "__init__"
    }


@dataclass(frozen=True)
class InstalledMechanism:
    """A mechanism of another package: its module, the module's file, and the version of the package."""

    module_name: str
    path: Path
    version: str


@cache
def _find_installed_mechanisms() -> dict[str, InstalledMechanism]:
    installed = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        with suppress(ImportError, ValueError):  # a broken package is no reason to hide the others
            module_name = entry.value.partition(":")[0].strip()
            spec = importlib.util.find_spec(module_name)
            if spec is not None and spec.origin is not None:
                version = entry.dist.version if entry.dist is not None else ""
                installed[entry.name] = InstalledMechanism(module_name, Path(spec.origin), version)
    return installed


def mechanism_names() -> tuple[str, ...]:
    """Return the name of every mechanism, ours and those of installed packages, without `none`."""
    return (*_find_own_files(), *sorted(_find_installed_mechanisms().keys() - _find_own_files().keys()))


@cache
def list_mechanism_aliases() -> dict[str, str]:
    """Return the names of papers and repositories that the cards give, each with the mechanism to suggest for it."""
    suggestions: dict[str, str] = {}
    for name in mechanism_names():
        with suppress(UserError):  # a broken file of another package is reported when it is used
            for alias in describe_mechanism(name).card.aliases:
                word, *options = alias.split()
                settings = "".join(f" --set model.options.{option}" for option in options)
                suggestions[word] = f"'{name}'" + (f" with{settings}" if settings else "")
    return suggestions


def is_file_path(name: str) -> bool:
    """Return whether `name` is the path of a user's file, such as ./mine.py."""
    return name.endswith(".py")


def is_plugin(name: str) -> bool:
    """Return whether the mechanism `name` is a user's file or comes from another package."""
    return name != NONE and locate_mechanism(name)[0] == "own"


def locate_mechanism(name: str) -> tuple[str, Path]:
    """Return (category, file) of a mechanism. Raises UserError for an unknown name, with the nearest known one."""
    if is_file_path(name):
        return "own", expand_user_path(name, "model.attn")
    if name in _find_own_files():
        return _find_own_files()[name]
    if name in _find_installed_mechanisms():
        return "own", _find_installed_mechanisms()[name].path
    if name == NONE:
        raise UserError(
            f"'{NONE}' is the plain network, without a mechanism", "`attncli ls attention` lists mechanisms"
        )
    if "," in name:
        raise UserError(f"unknown attention: '{name}'", "one here; `attncli measure` and sweeps take several")
    raise unknown_name_error("attention", name, (*mechanism_names(), NONE), aliases=list_mechanism_aliases())


def describe_mechanism(name: str) -> Mechanism:
    """Return the mechanism `name` (a known name or a path), read from its file without running it.

    Raises UserError if the file lacks `card` or `Attention`, or if either is malformed.
    """
    return _describe_cached(name, _read_file_version(name))


def resolve_mechanism(name: str) -> Mechanism | None:
    """Return the mechanism `name`, or None for `none`. Raises UserError as `describe_mechanism` does."""
    return None if name == NONE else describe_mechanism(name)


def is_whole_network(name: str) -> bool:
    """Return whether `name` is a mechanism that is the whole network. Raises UserError as `describe_mechanism` does."""
    mechanism = resolve_mechanism(name)
    return mechanism is not None and mechanism.is_whole_network


def get_package_version(name: str) -> str | None:
    """Return the version of the package that a mechanism comes from; None if it is ours, a file, or not installed."""
    if name == NONE or is_file_path(name) or name in _find_own_files():
        return None
    installed = _find_installed_mechanisms().get(name)
    return None if installed is None else installed.version


def list_code_files(name: str) -> dict[str, Path]:
    """Return the files of a mechanism's code by module: its own under "", then what it imports of its author.

    Those are the local modules of a user's file, and the modules of the same package of an installed mechanism. Ours
    have one file. Raises UserError for an unknown name.
    """
    path = locate_mechanism(name)[1]
    if is_file_path(name):
        return {"": path, **find_local_modules(path)}
    if get_package_version(name) is None:
        return {"": path}
    return {"": path, **find_package_modules(path, _find_installed_mechanisms()[name].module_name)}


def _read_file_version(name: str) -> tuple[tuple[int, int], ...]:
    """Return what changes when a user's file does, or a local module that it imports, so that it is read again."""
    versions = []
    with suppress(OSError, UserError):  # reported when the file is read
        for file in list_code_files(name).values() if is_file_path(name) else ():
            status = file.stat()
            versions.append((status.st_mtime_ns, status.st_size))
    return tuple(versions)


@lru_cache(maxsize=256)
def _describe_cached(name: str, _: tuple[tuple[int, int], ...]) -> Mechanism:
    category, path = locate_mechanism(name)
    tree = source_inspection.parse_source(path)
    card = source_inspection.find_assignment(tree, "card")
    constructor = _read_attention_signature(tree, path)
    if card is None or constructor is None:
        missing = "card = Card(...)" if card is None else "class Attention(nn.Module)"
        raise UserError(f"{path}: no `{missing}`", "a mechanism's file has both; `attncli show eca` names one to copy")
    site_arguments, options = constructor
    for argument in site_arguments:
        if argument not in SITE_ARGUMENTS:
            raise unknown_name_error("site argument", argument, SITE_ARGUMENTS, location=f"{path}: Attention.__init__")
    return Mechanism(
        path.stem if is_file_path(name) else name,
        category,
        path,
        ast.get_docstring(tree) or "",
        _read_card(card, path),
        tuple(site_arguments),
        options,
    )


def _read_attention_signature(
    tree: ast.Module, path: Path
) -> tuple[list[str], dict[str, source_inspection.ConstructorParameter]] | None:
    try:
        return source_inspection.read_constructor(tree, "Attention")
    except UserError as error:
        raise UserError(f"{path}, {error.problem}", error.hint) from error


def _read_card(node: ast.expr, path: Path) -> Card:
    """Return the Card that a file writes down as a call with literal arguments."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Card"):
        raise UserError(f"{path}: `card` is not a Card(...)", "write card = Card(title=..., site=..., ...)")
    try:
        card = Card(**{keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords})
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: card: {error}", "a card holds literal values only, each under a known name"
        ) from error
    for site in (card.site, card.mobile_site or card.site, *card.sites):
        if site not in SITES:
            raise unknown_name_error("site", site, SITES, location=f"{path}: card")
    return card


def load(name: str) -> ModuleType:
    """Return the module of a mechanism, with `card` and `Attention`. Imports torch.

    Raises UserError if a user's file fails on import.
    """
    return _load_cached(name, _read_file_version(name))


@lru_cache(maxsize=256)
def _load_cached(name: str, _: tuple[tuple[int, int], ...]) -> ModuleType:
    category, path = locate_mechanism(name)
    if category != "own":
        return importlib.import_module(f"attncli.attention.{category.replace('-', '_')}.{path.stem}")
    describe_mechanism(name)
    try:
        if not is_file_path(name):  # by its name, so that it may import its package's modules
            return importlib.import_module(_find_installed_mechanisms()[name].module_name)
        with _importable_siblings(path):
            return _run_file(path)
    except Exception as error:
        location = source_inspection.locate_error(error, path)
        raise UserError(f"{location}: fails on import: {type(error).__name__}: {error}", "fix the file") from error


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"attncli_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None, path  # a name that ends in .py has one
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable_siblings(path: Path) -> Iterator[None]:
    """Let a user's file import the modules beside it, read anew: another file's module may have the same name."""
    folder = path.absolute().parent
    for name, file in find_local_modules(path).items():
        if folder in file.parents:
            sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
