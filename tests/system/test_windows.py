"""What Windows lacks stands in no module's way, and its paths pass through recipes, results and MLflow's addresses."""

import ast
import mmap
import nturl2path
import os
import re
import signal
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

import attncli
from attncli import recipe as recipes
from attncli.commands._comparison_plots import format_plot_name
from attncli.data.images import decoded_cache
from attncli.system import files, process_groups
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
POSIX_NAMES = {  # by module, of functions and constants
    "os": "chown confstr fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getsid "
    "getuid killpg lchown mkfifo mknod nice openpty pathconf posix_fadvise posix_fallocate posix_spawn pread pwrite "
    "sched_getaffinity sched_setaffinity sendfile setpgid setsid setuid statvfs sync sysconf uname wait wait3",
    "mmap": "MAP_ANON MAP_ANONYMOUS MAP_NORESERVE MAP_PRIVATE MAP_SHARED PROT_EXEC PROT_READ PROT_WRITE",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm pause "
    "pthread_kill pthread_sigmask setitimer sigpending sigwait",
    "socket": "AF_UNIX",
    "select": "epoll kqueue poll",
    "time": "clock_settime pthread_getcpuclockid tzset",
}
PATH = r"C:\Users\Zoë B\images & more\train"


def test_every_module_is_imported_without_posix() -> None:
    """No module of the package imports at its top what Windows lacks, nor uses its missing signals there."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = [file for file in Path(attncli.__file__).parent.rglob("*.py") if file.name != "__init__.py"]
    assert int(done.stdout) >= len(modules)


def find_posix_names(source: str) -> list[str]:
    """Every use of a name that Windows lacks by code that does not ask for it first; `os.fork` as "os.fork"."""
    tree = ast.parse(source)
    is_asked = re.compile(r"hasattr|getattr|AttributeError|ImportError|os\.name|sys\.platform")
    places = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lines = source.splitlines()
    asking = [node for node in places if is_asked.search("\n".join(lines[node.lineno - 1 : node.end_lineno]))]
    allowed = {id(inner) for node in asking for inner in ast.walk(node)}
    return [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in POSIX_NAMES.get(node.value.id, "").split()
        and id(node) not in allowed
    ]


def test_names_that_windows_lacks_are_asked_for() -> None:
    """The same modules are there, but not all that is in them; a use in a function that nobody calls here shows too."""
    words = re.compile("|".join(rf"\b{name}\b" for names in POSIX_NAMES.values() for name in names.split()))
    files = [path for path in Path(attncli.__file__).parent.rglob("*.py") if words.search(path.read_text("utf-8"))]
    assert files
    assert {str(path): names for path in files if (names := find_posix_names(path.read_text("utf-8")))} == {}


def test_a_name_that_windows_lacks_is_found() -> None:
    """Unless the function looks whether it is there."""
    assert find_posix_names("import mmap\ndef f(): return mmap.MAP_PRIVATE") == ["mmap.MAP_PRIVATE"]
    assert find_posix_names("def f(): return os.getuid() if hasattr(os, 'getuid') else 0") == []
    assert find_posix_names("def f():\n  try: return os.getuid()\n  except AttributeError: return 0") == []


def test_decoded_images_are_mapped_without_posix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows has another way to keep changes in the process; the file stays as it is."""
    file = tmp_path / "images.bin"
    file.write_bytes(bytes(range(6)))
    for name in POSIX_NAMES["mmap"].split():
        monkeypatch.delattr(mmap, name, raising=False)
    mapped = decoded_cache.map_file(file, (2, 3))
    mapped[0, 0] = 9
    assert mapped.tolist() == [[9, 1, 2], [3, 4, 5]]
    assert file.read_bytes() == bytes(range(6))


def test_a_file_that_is_open_elsewhere_is_replaced_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows refuses that for the moment; what stays refused is an error, and leaves nothing behind."""
    refusals = [PermissionError(13, "in use")] * 2
    replace = Path.replace

    def replace_later(path: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_later)
    monkeypatch.setattr(files, "REPLACE_PAUSES", (0.0, 0.0))
    files.write_atomically(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
    refusals += [PermissionError(13, "in use")] * 3
    with pytest.raises(PermissionError):
        files.write_atomically(tmp_path / "a", "y")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "x"


def test_names_of_files_are_names_on_every_system() -> None:
    """A time, a path or a pattern of the user may stand in a plot's name."""
    assert files.make_file_name(r'a/b\c:d*e?f"g<h>i|j k-l.m') == "a-b-c-d-e-f-g-h-i-j k-l.m"
    assert ":" not in format_plot_name("digits", "resnet20", "params", ["2026-01-02 12:30"])


def test_names_of_files_are_short_enough() -> None:
    """A text of any length is a name that file systems take, in any script, and two texts are two names."""
    names = [files.make_file_name("ä" * 300 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= files.MOST_NAME_BYTES for name in names)
    assert files.make_file_name("x" * files.MOST_NAME_BYTES) == "x" * files.MOST_NAME_BYTES


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
