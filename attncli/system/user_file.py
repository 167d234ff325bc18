"""Import a user's Python file by its path, with the modules beside it."""

import importlib
import importlib.util
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from attncli.errors import UserError
from attncli.system import source_inspection
from attncli.system.local_imports import find_local_modules


def import_user_file(path: Path, module_name: str) -> ModuleType:
    """Return the module of a file, run anew, and keep it in `sys.modules`.

    Its name there ends with a checksum of the path, so that files of the same name do not replace each other. Classes
    of the file find it by that name: dataclasses while they are made, and pickle later.

    Raises UserError if it cannot be imported, with the line that fails.
    """
    module_name = f"{module_name}_{zlib.crc32(str(path.absolute()).encode(errors='surrogateescape')):08x}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: cannot be imported", "give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(module_name)
    sys.modules[module_name] = module
    try:
        with _importable_siblings(path):
            spec.loader.exec_module(module)
    except BaseException as error:
        if previous is None:
            sys.modules.pop(module_name, None)
        else:
            sys.modules[module_name] = previous
        if not isinstance(error, Exception):
            raise
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
