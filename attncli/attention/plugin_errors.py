"""Errors raised in a user's mechanism, reported with its file, the line and the exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from attncli import attention
from attncli.errors import UserError
from attncli.system import source_inspection
from attncli.system.code_reference import split_combination


def _locate_in_user_files(error: Exception, name: str, anywhere: bool) -> str | None:
    """Return the file and line of a user's mechanism that raised an error; None if it was none of them."""
    files = [attention.locate_mechanism(part) for part in split_combination(name)]
    user_files = [path for category, path in files if category == attention.OWN_CATEGORY]
    locations = {path: source_inspection.locate_error(error, path) for path in user_files}
    raised_in = next((location for path, location in locations.items() if location != str(path)), None)
    return raised_in or (str(user_files[0]) if user_files and anywhere else None)


@contextmanager
def plugin_errors(name: str, failure: str, *, code: int = 2, anywhere: bool = False) -> Iterator[None]:
    """Turn an exception that the file of the mechanism `name` raises into a UserError.

    A UserError passes unchanged, and so does any error of a mechanism of ours.

    Args:
        name: The mechanism, or `none`.
        failure: What failed, for the message.
        code: Exit code of the UserError.
        anywhere: Convert an error raised outside of the file too, because only the file can have caused it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if name == attention.NONE:
            raise
        location = _locate_in_user_files(error, name, anywhere)
        if location is None:
            raise
        message = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{location}: {failure}: {type(error).__name__}{message and f': {message}'}", "fix the file", code=code
        ) from error
