"""A user's file that ends the process, as by `exit()` left from a search for a fault: say where it does so."""

import sysconfig
import traceback
from pathlib import Path

from attncli.errors import UserError

PACKAGE = Path(__file__).parents[1]
LIBRARY_FOLDERS = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))


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
    return not name.startswith("<") and not any(path.is_relative_to(place) for place in (PACKAGE, *LIBRARY_FOLDERS))
