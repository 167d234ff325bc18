"""The attention mechanisms: found by file name, described without importing torch, loaded on demand.

A mechanism is one file in a category's folder with two names, `card` and `Attention`. Users add others by path
(`--attn ./mine.py`, or `--attn ./mine.py:CBAM` for any module) or by an installed package with an entry point in the
group `attncli.attention`.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from attncli.attention.mechanism_file import CLASS, combine_mechanisms, read_mechanism_file
from attncli.attention.mechanism_file import OWN_CATEGORY as OWN_CATEGORY
from attncli.attention.mechanism_file import Mechanism as Mechanism
from attncli.errors import UserError, unknown_name_error
from attncli.system import source_inspection
from attncli.system.code_reference import (
    is_code_reference,
    label_code_reference,
    split_code_reference,
    split_combination,
)
from attncli.system.files import expand_user_path
from attncli.system.local_imports import find_local_modules, find_package_modules
from attncli.system.user_file import import_user_file

if TYPE_CHECKING:  # it imports torch
    from torch import nn

CATEGORIES = ("channel", "spatial", "temporal", "branch", "channel-spatial", "self-attention")
NONE = "none"
ENTRY_POINT_GROUP = "attncli.attention"


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
        with suppress(Exception, SystemExit):  # one broken package is no reason to hide the others
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
    """Return whether `name` is the path of a user's file, such as ./mine.py or ./mine.py:CBAM."""
    return is_code_reference(name)


def is_plugin(name: str) -> bool:
    """Return whether the mechanism `name`, or one of a combination, is a user's file or of another package."""
    return name != NONE and any(locate_mechanism(part)[0] == OWN_CATEGORY for part in split_combination(name))


def locate_mechanism(name: str) -> tuple[str, Path]:
    """Return (category, file) of a mechanism. Raises UserError for an unknown name, with the nearest known one."""
    if is_file_path(name):
        return OWN_CATEGORY, expand_user_path(split_code_reference(name)[0], "model.attn")
    if name in _find_own_files():
        return _find_own_files()[name]
    if name in _find_installed_mechanisms():
        return OWN_CATEGORY, _find_installed_mechanisms()[name].path
    if name == NONE:
        raise UserError(
            f"'{NONE}' is the plain network, without a mechanism", "`attncli ls attention` lists mechanisms"
        )
    if not name:
        raise UserError("a name of a mechanism is empty", "names are joined as in se+simam")
    if ".py::" in name:
        raise UserError(f"unknown attention: '{name}'", f"one colon: {name.replace('::', ':')}")
    if "+" in name:
        raise UserError(f"'{name}' is several mechanisms", "name one of them")
    if "," in name:
        raise UserError(
            f"unknown attention: '{name}'",
            "one here, or se+simam for both in one network; `attncli measure` and `attncli sweep --attn` take several",
        )
    if "(" in name and (base := name.partition("(")[0]) in mechanism_names():
        raise UserError(f"unknown attention: '{name}'", f"{base}, with options as --set model.options.KEY=VALUE")
    raise unknown_name_error("attention", name, (*mechanism_names(), NONE), aliases=list_mechanism_aliases())


def describe_mechanism(name: str) -> Mechanism:
    """Return the mechanism `name` (a known name or a path), read from its file without running it.

    Names that are joined by `+` are a combination.

    Raises UserError if the file lacks the class, or if the class or its card is malformed.
    """
    names = split_combination(name)
    if len(names) > 1:
        return combine_mechanisms(name, [describe_mechanism(part) for part in names])
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
    label = label_code_reference(name) if is_file_path(name) else name
    return read_mechanism_file(path, label, category, split_code_reference(name)[1], name)


def load_class(name: str) -> "Callable[..., nn.Module]":
    """Return the class of a mechanism, or the function of a user's file that returns a module. Imports torch.

    Raises UserError if a user's file fails on import.
    """
    mechanism_class: Callable[..., nn.Module] = getattr(load(name), split_code_reference(name)[1] or CLASS)
    return mechanism_class


def load(name: str) -> ModuleType:
    """Return the module of a mechanism, with its class. Imports torch.

    Raises UserError if a user's file fails on import.
    """
    return _load_cached(name, _read_file_version(name))


@lru_cache(maxsize=256)
def _load_cached(name: str, _: tuple[tuple[int, int], ...]) -> ModuleType:
    category, path = locate_mechanism(name)
    if category != OWN_CATEGORY:
        return importlib.import_module(f"attncli.attention.{category.replace('-', '_')}.{path.stem}")
    describe_mechanism(name)
    if is_file_path(name):
        return import_user_file(path, f"attncli_own_{path.stem}")
    try:  # by its name, so that it may import its package's modules
        return importlib.import_module(_find_installed_mechanisms()[name].module_name)
    except Exception as error:
        location = source_inspection.locate_error(error, path)
        raise UserError(f"{location}: fails on import: {type(error).__name__}: {error}", "fix the file") from error
