"""Import a user's Python file by its path, with the modules beside it."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from attncli.errors import UserError
from attncli.system import source_inspection
from attncli.system.local_imports import find_local_modules


def import_user_file(path: Path, module_name: str) -> ModuleType:
    """Return the module of a file, run anew. Raises UserError if it cannot be imported, with the line that fails."""
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: cannot be imported", "give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        with _importable_siblings(path):
            spec.loader.exec_module(module)
    except Exception as error:
        location = source_inspection.locate_error(error, path)
        raise UserError(f"{location}: fails on import: {type(error).__name__}: {error}", "fix the file") from error
    return module


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
