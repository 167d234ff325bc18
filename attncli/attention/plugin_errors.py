"""Errors raised in a user's mechanism, reported with its file, the line and the exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from attncli import attention
from attncli.errors import UserError
from attncli.system import source_inspection


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
        category, path = attention.locate_mechanism(name)
        location = source_inspection.locate_error(error, path)
        if category != "own" or (location == str(path) and not anywhere):
            raise
        message = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{location}: {failure}: {type(error).__name__}{message and f': {message}'}", "fix the file", code=code
        ) from error
