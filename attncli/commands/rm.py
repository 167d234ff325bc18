"""`attncli rm`: delete runs, their folders and what MLflow has of them."""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import click

from attncli.commands._completion import complete_runs
from attncli.commands._run_options import store_options
from attncli.errors import UserError
from attncli.quantities import format_quantity

QUIET_MINUTES = 10  # without a record of a run of another host, after which it may have been killed


@click.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@store_options
def command(names: tuple[str, ...], yes: bool, runs: Path, tracking_uri: str | None) -> None:
    """Delete each RUN: its folder with the weights, and its run in MLflow. Asks first.

    RUN is the name of a run, the beginning of its digest, or its folder. A run that is being trained is not deleted.
    Whether one of another host (a node, a container) was killed cannot be seen here: --yes deletes it if it has
    recorded nothing for 10 minutes and no process holds its folder.

    More in `attncli help mlflow`.

    \b
    Example:
      attncli rm eca-resnet18-s0
      attncli rm 3f2cb079fc2a --yes
    """
    from attncli import track
    from attncli.runs import RunStore, find_run_folder

    run_paths = {name: find_run_folder(runs, name, _refuse_ambiguous_name) for name in names}
    folders = {Path(os.path.abspath(path)): name for name, path in run_paths.items()}  # `.` too has a name then
    for folder in folders:
        _refuse_training_run(folder, yes)
    for folder, name in folders.items():
        click.echo(f"{folder.name}  {name}", err=True)
    if not yes and not _confirm(f"delete {format_quantity(len(folders), 'run')} with the weights?"):
        return
    for folder, name in folders.items():
        store = RunStore(folder.parent, tracking_uri)  # of its own folder of runs, if it was named by its path
        deleted = track.delete_runs(folder.name, run_store=store)
        if folder.is_symlink():
            folder.unlink()  # the link alone, not what it leads to
        else:
            shutil.rmtree(folder)
        click.echo(f"deleted {run_paths[name]}" + (f" and {deleted} in MLflow" if deleted else ""))


def _refuse_training_run(folder: Path, yes: bool) -> None:
    """Raise UserError for a run that is being trained, or may be so on another host; `yes` lets a quiet one pass."""
    from attncli.track.provenance import read_provenance

    provenance = read_provenance(folder)
    if provenance is None or provenance.current_status() != "RUNNING":
        return
    host = provenance.process.host
    if host == socket.gethostname():
        raise UserError(f"{folder}: the run is being trained", "stop it first")
    is_quiet = _is_quiet(folder)
    if not (yes and is_quiet):
        advice = "--yes deletes it" if is_quiet else f"--yes deletes it after {QUIET_MINUTES} minutes without a record"
        raise UserError(f"{folder}: the run is being trained on {host}", f"stop it there; if it was killed, {advice}")


def _is_quiet(folder: Path) -> bool:
    """Return whether a run has recorded nothing for some minutes, and no process holds its folder."""
    from attncli.records import LOG
    from attncli.run.run_dir import is_in_use
    from attncli.track.provenance import ORIGIN_FILE

    files = (folder / ORIGIN_FILE, folder / LOG)
    written_s = max(file.stat().st_mtime for file in files if file.exists())
    return time.time() - written_s > 60 * QUIET_MINUTES and not is_in_use(folder)


def _confirm(question: str) -> bool:
    """Return whether the user says yes. Raises UserError if standard input ends without an answer."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        click.echo(err=True)
        raise UserError("no answer on standard input: nothing is deleted", "--yes deletes without asking") from error


def _refuse_ambiguous_name(line: str) -> None:
    raise UserError(line, "name one by its digest or its whole name")
