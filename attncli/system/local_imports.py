"""The local modules that a Python file imports, found without running anything: a user's own code, not libraries."""

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path

PACKAGE_FOLDERS = {"site-packages", "dist-packages"}


def find_local_modules(path: Path) -> dict[str, Path]:
    """Return name and file of every module that a file imports, directly or not, from its own folder or `sys.path`.

    Left out are the standard library, installed packages, attncli itself, and what cannot be found or read.
    """
    locate = _leave_out_attncli(lambda name: _locate_module(name, path.absolute().parent))
    return _follow_imports(path, "", locate)


def find_package_modules(path: Path, module_name: str) -> dict[str, Path]:
    """Return name and file of every module that a package's module imports, directly or not, from that package.

    Local modules, as `find_local_modules` finds them, are in it too: a package may be a link to its source.

    Args:
        path: The file of the module.
        module_name: Its full name, such as `package.part.module`.
    """
    parts = module_name.split(".")
    root = path.absolute().parents[len(parts) - (path.name != "__init__.py")]

    def locate(name: str) -> Path | None:
        if name.partition(".")[0] == parts[0] and (file := _locate_below(name, root)) is not None:
            return file
        return _locate_module(name, root)

    return _follow_imports(path, module_name, _leave_out_attncli(locate))


def find_sibling_modules(path: Path, module_name: str, package: str) -> dict[str, Path]:
    """Return name and file of every module that a module of attncli imports, directly or not, from one package.

    The `__init__` files of packages are left out: each would bring all that the package has.

    Args:
        path: The file of the module.
        module_name: Its full name, such as `attncli.attention.channel.se`.
        package: The full name of the package, such as `attncli.attention`.
    """
    root = path.absolute().parents[module_name.count(".")]

    def locate(name: str) -> Path | None:
        file = _locate_below(name, root) if name.startswith(f"{package}.") else None
        return None if file is None or file.name == "__init__.py" else file

    return _follow_imports(path, module_name, locate)


def _leave_out_attncli(locate: Callable[[str], Path | None]) -> Callable[[str], Path | None]:
    return lambda name: None if name.partition(".")[0] == "attncli" else locate(name)


def _follow_imports(path: Path, module_name: str, locate: Callable[[str], Path | None]) -> dict[str, Path]:
    """Return the modules that a file imports, directly or not, as far as `locate` gives their files."""
    modules: dict[str, Path] = {}
    pending = [(module_name, path)]
    while pending:
        name, file = pending.pop()
        for imported_name in _list_imported_names(file, name):
            if imported_name in modules:
                continue
            imported_file = locate(imported_name)
            if imported_file is not None and imported_file != path.absolute():
                modules[imported_name] = imported_file
                pending.append((imported_name, imported_file))
    return dict(sorted(modules.items()))


def _list_imported_names(file: Path, module_name: str) -> tuple[str, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return _parse_imported_names(file, module_name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _parse_imported_names(file: Path, module_name: str, changed_ns: int, size: int) -> tuple[str, ...]:
    """Return the names of all modules that a file may import, each package before its modules."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # reported when the file is run
        return ()
    names = [name for node in ast.walk(tree) for name in _list_names(node, _find_package(file, module_name))]
    parts = [name.split(".") for name in names]
    return tuple(dict.fromkeys(".".join(p[:count]) for p in parts for count in range(1, len(p) + 1)))


def _find_package(file: Path, module_name: str) -> list[str]:
    """Return the parts of the name of the package that a module is in; a package is in itself."""
    parts = module_name.split(".") if module_name else []
    return parts if file.name == "__init__.py" else parts[:-1]


def _list_names(node: ast.AST, package: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) + 1 - node.level] if node.level else []
        parts = [*base, *((node.module or "").split(".") if node.module else [])]
        yield from (".".join([*parts, alias.name]) for alias in node.names)


def _locate_module(name: str, folder: Path) -> Path | None:
    """Return the file of a module below `folder` or a local folder of `sys.path`, or None."""
    roots = _list_local_folders((str(folder), *sys.path))
    return next((file for root in roots if (file := _locate_below(name, root)) is not None), None)


def _locate_below(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _list_local_folders(search_path: tuple[str, ...]) -> list[Path]:
    """Return the folders among these that hold neither the standard library nor installed packages."""
    library_folders = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")}
    folders = [Path(entry or ".").absolute() for entry in search_path]
    return [
        folder
        for folder in folders
        if folder.is_dir()
        and not PACKAGE_FOLDERS & set(folder.parts)
        and not any(library in (folder.resolve(), *folder.resolve().parents) for library in library_folders)
    ]
