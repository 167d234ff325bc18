"""Write files so that a reader never sees half of one, and take paths and texts from users."""

import codecs
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attncli.errors import UserError

REPLACE_PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0) if os.name == "nt" else ()  # seconds
MOST_NAME_BYTES = 200  # of a part of a file's name; file systems allow 255 for the whole name
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}[^/]")  # s3://bucket, also after Path has made it s3:/bucket


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; flush that file and rename it to `path` when the block ends.

    `path` is complete or unchanged, whatever ends the program. If the block raises, Ctrl-C among it, nothing is left.
    The name is of no other process, on other machines that share the disk neither: containers number processes alike.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        _replace_file(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _replace_file(temporary: Path, path: Path) -> None:
    """Rename a file to `path`. On Windows that is refused as long as another process has `path` open: wait then."""
    for pause in REPLACE_PAUSES:
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    temporary.replace(path)


def make_file_name(text: str) -> str:
    """Return a text that may be part of a file's name on every system.

    What some systems do not take becomes `-`. A text of more than MOST_NAME_BYTES is cut; a digest of all of it at its
    end tells it from others with the same beginning.
    """
    name = _NOT_IN_NAMES.sub("-", text)
    encoded = name.encode()
    if len(encoded) <= MOST_NAME_BYTES:
        return name
    import hashlib  # here, as few names are so long

    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: MOST_NAME_BYTES - len(digest) - 1].decode(errors='ignore')}-{digest}"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` as `written_aside` does: `path` is complete or unchanged."""
    with written_aside(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def read_user_text(path: Path, hint: str, key: str | None = None) -> str:
    """Return the text of a user's file, in UTF-8 or in UTF-16 with a mark, as Windows and spreadsheets write it.

    Raises UserError, with `hint` if the file cannot be read or is no text; it begins with the key that names the file.
    """
    place = f"{key}: {path}" if key else str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{place}: {error.strerror or error}", hint) from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise UserError(f"{place}: not a text file", hint) from error
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"{place}: its text is not in UTF-8 (the byte 0x{content[error.start]:02x} in line {line})"
        raise UserError(problem, "save it as UTF-8, which spreadsheets call CSV UTF-8") from error


def check_writable(path: Path) -> None:
    """Raise UserError if a file cannot be written at this place, before the work for it is done."""
    import tempfile  # here, as most commands do not need it

    folder = next(ancestor for ancestor in path.absolute().parents if ancestor.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):  # the rights of a folder say nothing to root, or of /proc
            pass
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be written", "give another file: --out") from error


def path_exists(path: Path) -> bool:
    """Return whether a file or folder is there; a word that no file can have as its name is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def expand_user_path(text: str, key: str) -> Path:
    """Return the path that a user gave for a key, with ~ as the home folder.

    Raises UserError for an empty text, for a path that no file can have, that cannot be recorded because it is not
    UTF-8, or that is an address of the network.
    """
    if not text.strip():
        raise UserError(f"{key}: the path is empty", "give a folder or file; . is the current folder")
    try:
        path = Path(text).expanduser()
        os.fspath(path).encode()
        if not path.exists() and _ADDRESS.match(text):
            raise UserError(f"{key}: {text}: an address, and not a path", "fetch it first, and give the path here")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, UnicodeEncodeError):
            raise UserError(f"{key}: {text}: the path is not valid UTF-8", "rename the folder or file") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{key}: {text[:200]}: {reason}", "give the path of a folder or file that you can read"
        ) from error
    return path
