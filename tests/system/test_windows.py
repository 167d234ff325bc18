"""What Windows lacks stands in no module's way, and its paths pass through recipes, results and MLflow's addresses."""

import nturl2path
import os
import signal
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

import attncli
from attncli import recipe as recipes
from attncli.system import process_groups
from attncli.track import database

POSIX_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
IMPORT_ALL = f"""
import builtins, importlib, pkgutil, signal
import attncli

plain = builtins.__import__

def guarded(name, globals=None, *rest, **named):
    importer = (globals or {{}}).get("__name__") or ""
    if importer.startswith("attncli") and name.partition(".")[0] in {POSIX_MODULES}:
        raise ImportError(f"{{importer}} imports {{name}}")
    return plain(name, globals, *rest, **named)

builtins.__import__ = guarded
for name in ("SIGHUP", "SIGQUIT", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGUSR2"):
    vars(signal).pop(name, None)
names = [module.name for module in pkgutil.walk_packages(attncli.__path__, "attncli.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
PATH = r"C:\Users\Zoë B\images & more\train"


def test_every_module_is_imported_without_posix() -> None:
    """No module of the package imports at its top what Windows lacks, nor uses its missing signals there."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = [file for file in Path(attncli.__file__).parent.rglob("*.py") if file.name != "__init__.py"]
    assert int(done.stdout) >= len(modules)


def test_worker_is_stopped_through_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no signal to send there: a process interrupts itself, and its handler runs."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        for name in ("posix", "nt"):
            monkeypatch.setattr(os, "name", name)
            process_groups.interrupt_self()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM] * 2


def test_process_tree_is_stopped() -> None:
    """A process that ignores SIGTERM and its child are gone afterwards."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **process_groups.OWN_GROUP)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        process_groups.stop_process_tree(process, 0.3)
        assert process.poll() is not None
        assert process.stdout.read() == b""  # its child, which had the other end, is gone too


def test_path_with_a_drive_in_a_recipe(tmp_path: Path) -> None:
    """Given on the command line or in a file, it stays as it is, through YAML and back."""
    made = recipes.read(None, [f"data.root={PATH}"])
    file = tmp_path / "recipe.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8")
    again = recipes.read(file)
    assert made.data.root == again.data.root == PATH
    assert made.compute_digest() == again.compute_digest()


def test_path_with_a_drive_as_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is found by its path; the drive of an artifact's address is no host."""
    windows = PureWindowsPath(r"C:\runs 1\mlflow.db")
    assert windows.as_uri() == "file:///C:/runs%201/mlflow.db"
    assert database.find_database_file(f"sqlite:///{windows}") == Path(str(windows))
    monkeypatch.setattr(database, "url2pathname", nturl2path.url2pathname)
    folder = "file:///C:/runs%201/mlartifacts"
    path = PureWindowsPath(database._relative_artifact_path(f"{folder}/1/a%20b/artifacts", folder))
    assert PureWindowsPath(r"D:\copy", path) == PureWindowsPath(r"D:\copy\1\a b\artifacts")
