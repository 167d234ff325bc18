"""What an MLflow store answers when it refuses, as one line and what to do about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from attncli.errors import UserError, quote_word
from attncli.track import database

STORE_HINT = "fix --tracking-uri or MLFLOW_TRACKING_URI; without them runs are recorded in runs/mlflow.db"


def redact_address(uri: str) -> str:
    """Return the address without user name and password, in which a database takes a slash; a port is no password."""
    if database.find_database_file(uri) is not None:
        return uri
    return re.sub(r"//[^:/@]*(:(?!\d+/)[^@]*)?@([^/@]*@)*", "//", uri)


@contextmanager
def translated_store_errors(address: str) -> Iterator[None]:
    """Raise UserError for whatever MLflow, a database driver or a server raises in the block; a UserError passes.

    `address` is that of the store, as `RunStore.resolve_address` returns it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise make_store_error(address, error) from error


def make_store_error(uri: str, error: Exception) -> UserError:
    """Return the error for a store that answered with an error."""
    text = str(getattr(error, "message", None) or error).strip()
    reasons = [line for line in text.splitlines() if not line.startswith("(raised as a result of")]  # by SQLAlchemy
    line = reasons[0] if reasons else type(error).__name__
    file = database.find_database_file(uri)
    hint = f"mlflow db upgrade {redact_address(uri)}" if "db upgrade" in text else STORE_HINT
    if file and "db upgrade" in text:
        hint = f"mlflow db upgrade {quote_word(database.format_mlflow_address(uri))}; {database.suggest_repair(file)}"
    if "disk is full" in text:
        hint = "make room, or give a folder on another disk: --runs"
    elif file and file.exists() and (damage := database.find_damage(file)):
        return UserError(f"tracking store {file}: {damage} ({line[:200]})", database.suggest_repair(file))
    return UserError(f"tracking store {redact_address(uri)}: {line[:300]}", hint)
