"""The local modules that a Python file imports, found without running anything: a user's own code, not libraries."""

import ast
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

PROJECT_FILES = (".git", "pyproject.toml", "setup.py", "setup.cfg")  # one is at the top of a project
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}


def find_local_modules(path: Path) -> dict[str, Path]:
    """Return name and file of every module that a file imports, directly or not, from its own project or `sys.path`.

    Left out are the standard library, installed packages, attncli itself, and what cannot be found or read.
    """
    package = find_package(path)
    locate = _leave_out_attncli(lambda name: _locate_own_module(name, path, package))
    return _follow_imports(path, package.module_name, locate)


@dataclass(frozen=True)
class FilePackage:
    """The package that a file is in: the folder that holds it, and the file's full name, such as `models.blocks`.

    A file without relative imports is in none: its name is "", and the folder is its own.
    """

    root: Path
    module_name: str


def find_package(path: Path) -> FilePackage:
    """Return the package of a file: the folders above it with `__init__.py`, and as many as its imports go up."""
    path = path.absolute()
    level = _find_highest_level(path)
    if not level:
        return FilePackage(path.parent, "")
    marked = 0
    while marked < len(path.parents) and (path.parents[marked] / "__init__.py").is_file():
        marked += 1
    depth = min(max(level, marked), len(path.parents) - 1)
    names = [folder.name for folder in reversed(path.parents[:depth])]
    return FilePackage(path.parents[depth], ".".join([*names, path.stem]))


def list_project_folders(path: Path) -> list[Path]:
    """Return the folders above a file's own from which it may import modules by their full names, nearest first.

    They are those up to the top of its project, which holds `.git` or `pyproject.toml`, or a package; and each that
    holds a folder above the file with the name of a module that it imports (`models` for `models.blocks`).
    """
    folders = list(path.absolute().parents)
    top = next((i for i, folder in enumerate(folders) if any((folder / name).exists() for name in PROJECT_FILES)), 0)
    while top + 1 < len(folders) and (folders[top] / "__init__.py").is_file():
        top += 1
    imported = {name.partition(".")[0] for name in _list_imported_names(path, "")}
    return [folder for i, folder in enumerate(folders[1:], 1) if i <= top or folders[i - 1].name in imported]


def locate_module(name: str, path: Path) -> Path | None:
    """Return the file of a module that a user's file imports, or one that it imports; None if there is none.

    Modules of installed packages are found too, except those of torch, which are large and define no mechanism.
    """
    own = _locate_own_module(name, path, find_package(path))
    if own is not None or name.partition(".")[0] in {"", "torch", *sys.stdlib_module_names}:
        return own
    return next((file for entry in sys.path if (file := _locate_below(name, Path(entry or "."))) is not None), None)


def find_import_base(node: ast.ImportFrom, file: Path, module_name: str) -> str:
    """Return the full name of the module from which a statement of a file imports, "" for the file's own folder."""
    package = _split_package(file, module_name)
    base = package[: len(package) + 1 - node.level] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def _locate_own_module(name: str, path: Path, package: FilePackage) -> Path | None:
    """Return the file of a module of the user's, from the file's package, its project or `sys.path`; or None."""
    top = name.partition(".")[0]
    if package.module_name.startswith(f"{top}.") and (file := _locate_below(name, package.root)) is not None:
        return file
    if (file := _locate_module(name, path.absolute().parent)) is not None or _is_installed(top):
        return file
    return next((file for f in list_project_folders(path) if (file := _locate_below(name, f)) is not None), None)


def _is_installed(top: str) -> bool:
    """Return whether a module that is not the user's has this name: it is imported before one of the project."""
    spec = None if top in sys.stdlib_module_names else PathFinder.find_spec(top)
    return top in sys.stdlib_module_names or (spec is not None and spec.origin is not None)  # a folder alone has none


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
    names = [name for node in ast.walk(tree) for name in _list_names(node, file, module_name)]
    parts = [name.split(".") for name in names]
    return tuple(dict.fromkeys(".".join(p[:count]) for p in parts for count in range(1, len(p) + 1)))


def _split_package(file: Path, module_name: str) -> list[str]:
    """Return the parts of the name of the package that a module is in; a package is in itself."""
    parts = module_name.split(".") if module_name else []
    return parts if file.name == "__init__.py" else parts[:-1]


def _list_names(node: ast.AST, file: Path, module_name: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = find_import_base(node, file, module_name)
        yield from (".".join(filter(None, (base, alias.name))) for alias in node.names)


def _find_highest_level(path: Path) -> int:
    """Return how many folders up the relative imports of a file go: 1 for `from . import x`, 0 without any."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # reported when the file is run
        return 0
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


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
