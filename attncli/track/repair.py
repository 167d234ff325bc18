"""Repair of a damaged SQLite store: the file is kept under another name, and a new one is made from the runs."""

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from attncli.errors import UserError
from attncli.track import database, store
from attncli.track.store import RunStore
from attncli.track.store_errors import redact_address
from attncli.track.sync import SyncOutcome, sync_runs


@dataclass(frozen=True)
class StoreRepair:
    """What a repair did: the name under which the damaged file is kept, and the runs that the new store has."""

    kept_file: Path
    reason: str
    outcomes: tuple[SyncOutcome, ...]


def repair_store(run_store: RunStore) -> StoreRepair | None:
    """Replace a damaged store by a new one with all runs of the folder; return None if the store is in order.

    Notes and tags that somebody wrote in the dashboard stay in the kept file only, as do runs of other programs.

    Raises:
        UserError: The store is a server's, or it cannot be opened for a reason other than damage.
    """
    file = database.find_database_file(run_store.resolve_address())
    if file is None:
        address = redact_address(run_store.resolve_address())
        raise UserError(f"tracking store {address}: only an SQLite file can be repaired", "restart its server")
    if not file.exists():
        return None
    with store.store_lock(run_store):
        try:
            reason = _find_fault(file)
            if not reason:
                return None
            kept_file = database.set_aside(file)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"tracking store {file}: {error}", "end the programs that use it, try again") from error
    return StoreRepair(kept_file, reason, tuple(sync_runs(run_store)))


def _find_fault(file: Path) -> str:
    """Return why MLflow cannot open the store, or an empty text if it can.

    MLflow opens a copy: within this process it would stay connected to a file that it has opened.
    """
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".repair-") as folder:
        copy = Path(folder) / file.name
        try:
            with (
                closing(sqlite3.connect(file, timeout=database.BUSY_S)) as source,
                closing(sqlite3.connect(copy)) as to,
            ):
                source.backup(to)
            store.open_client(database.format_sqlite_address(copy))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            return str(error)
        except UserError as error:
            return database.find_damage(copy) or error.problem.partition(": ")[2]
    return ""
