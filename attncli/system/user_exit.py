"""A user's file that ends the process, as by `exit()` left from a search for a fault: say where it does so."""

import sysconfig
import traceback
from importlib.util import find_spec
from pathlib import Path

from attncli.errors import UserError
from attncli.system.local_imports import PACKAGE_FOLDERS

PACKAGE = Path(__file__).parents[1]
CLICK = find_spec("click")
LIBRARY_FOLDERS = (
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    Path(str(CLICK and CLICK.origin)).parents[1],  # `pip install --target` may have put it anywhere
)


def make_exit_error(end: SystemExit) -> UserError | None:
    """Return the error of a file of the user's that ended the process; None if no such file did.

    An exit of attncli itself, of click, or of an installed package passes through no file of the user's.
    """
    frames = [frame for frame in traceback.extract_tb(end.__traceback__) if _is_user_file(frame.filename)]
    if not frames:
        return None
    path = Path(frames[-1].filename)
    place = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return UserError(
        f"{place}, line {frames[-1].lineno}: ends the process: {frames[-1].line}",
        "take it out, or put what only a script does below `if __name__ == '__main__':`",
    )


def _is_user_file(name: str) -> bool:
    """Return whether a file is neither of attncli nor of Python, nor installed; "<frozen ...>" is no file."""
    path = Path(name)
    if name.startswith("<") or PACKAGE_FOLDERS & set(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in (PACKAGE, *LIBRARY_FOLDERS))
