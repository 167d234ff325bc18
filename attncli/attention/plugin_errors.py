"""Errors of a user's own mechanism, told as such: its file, the line, what was raised."""

from collections.abc import Iterator
from contextlib import contextmanager

from attncli import attention
from attncli.errors import UserError
from attncli.system import source_inspection


@contextmanager
def plugin_errors(name: str, failure: str, *, code: int = 2, anywhere: bool = False) -> Iterator[None]:
    """Turn what the file of the mechanism `name` raises into a UserError that says what it was `failure`.

    Nothing changes for a UserError, for our own mechanisms, and for an error that was not raised in the file,
    unless `anywhere` says that only the file can be to blame.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if name == attention.NONE:
            raise
        category, path = attention.locate_mechanism(name)
        location = source_inspection.locate_error(error, path)
        if category != "own" or (location == str(path) and not anywhere):
            raise
        message = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{location}: {failure}: {type(error).__name__}{message and f': {message}'}", "mend the file", code=code
        ) from error
