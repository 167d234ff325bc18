"""Import a user's Python file by its path, with the modules beside it."""

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from attncli.errors import UserError
from attncli.system import source_inspection
from attncli.system.local_imports import FilePackage, find_local_modules, find_package, list_project_folders


def import_user_file(path: Path, module_name: str) -> ModuleType:
    """Return the module of a file, run anew, and keep it in `sys.modules`.

    Its name there ends with a checksum of the path, so that files of the same name do not replace each other. Classes
    of the file find it by that name: dataclasses while they are made, and pickle later. A file with relative imports is
    a part of its package there, whose `__init__.py` is not run: it may import what the file does not need.

    Raises UserError if it cannot be imported, with the line that fails.
    """
    package = find_package(path)
    module_name = f"{module_name}_{_compute_checksum(path)}"
    previous = dict(sys.modules)
    if package.module_name:
        module_name = f"{_make_packages(package)}.{package.module_name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: cannot be imported", "give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with _importable_siblings(path):
            spec.loader.exec_module(module)
    except BaseException as error:
        _restore_modules(module_name.partition(".")[0], previous)
        if not isinstance(error, Exception):
            raise
        location = source_inspection.locate_error(error, path)
        hint = "fix the file"
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = f"install {error.name.partition('.')[0]}, or have it in the file's folder or project"
        raise UserError(f"{location}: fails on import: {type(error).__name__}: {error}", hint) from error
    return module


def _compute_checksum(path: Path) -> str:
    return f"{zlib.crc32(str(path.absolute()).encode(errors='surrogateescape')):08x}"


def _make_packages(package: FilePackage) -> str:
    """Put the packages above a file into `sys.modules`, without what was imported before; return the topmost name."""
    top = f"attncli_project_{_compute_checksum(package.root)}"
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    parts = package.module_name.split(".")[:-1]
    for depth in range(len(parts) + 1):
        name = ".".join([top, *parts[:depth]])
        module = ModuleType(name)
        module.__path__ = [str(package.root.joinpath(*parts[:depth]))]
        sys.modules[name] = module
    return top


def _restore_modules(top: str, previous: Mapping[str, ModuleType]) -> None:
    """Let `sys.modules` hold what it held before of a module and what is in it."""
    for name in [name for name in {*sys.modules, *previous} if name == top or name.startswith(f"{top}.")]:
        if name in previous:
            sys.modules[name] = previous[name]
        else:
            sys.modules.pop(name, None)


def read_file_versions(path: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes when a user's file does, or a local module that it imports; () if it is not there."""
    versions = []
    with suppress(OSError):  # reported when the file is read
        for file in (path, *find_local_modules(path).values()):
            status = file.stat()
            versions.append((status.st_mtime_ns, status.st_size))
    return tuple(versions)


@contextmanager
def _importable_siblings(path: Path) -> Iterator[None]:
    """Let a user's file import the modules of its folder and project, read anew: another's may have the same name.

    What is installed goes before the modules of the project outside of the file's folder.
    """
    folder, project_folders = path.absolute().parent, list_project_folders(path)
    for name, file in find_local_modules(path).items():
        if not {folder, *project_folders}.isdisjoint(file.parents):
            for depth in range(1, name.count(".") + 2):  # the packages too: another project's may have been elsewhere
                sys.modules.pop(".".join(name.split(".")[:depth]), None)
    importlib.invalidate_caches()
    added = [str(folder), *map(str, project_folders)]
    sys.path[:] = [added[0], *sys.path, *added[1:]]
    try:
        yield
    finally:
        for entry in added:
            with suppress(ValueError):
                sys.path.remove(entry)
