"""The end of the process: everything that is registered for it happens, the exit code is told, and it is quick."""

import io
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from attncli.__main__ import print_error, run_command
from attncli.commands import cli
from attncli.commands._sweep_execution import exit_unless_complete
from attncli.errors import UserError
from attncli.system.signals import StopRequest
from attncli.system.user_exit import make_exit_error
from tests.shared import ROOT

LEAVE = """
import atexit, sys, threading
from attncli import __main__ as entry
if {heavy}:
    sys.modules.setdefault("torch", threading)
    class Slow:
        def __del__(self):
            print("taken apart")
    sys.kept = Slow()
atexit.register(lambda: print("registered"))
print("printed", end=" ")
def main():
    sys.exit({code})
entry.main = main
entry.run_and_exit()
"""


def left(code: object, heavy: bool) -> subprocess.CompletedProcess[str]:
    """A process that ends as `attncli` does."""
    text = LEAVE.format(code=repr(code), heavy=heavy)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("code", [0, 2, 130, None])
def test_exit_code_and_output(code: int | None, heavy: bool) -> None:
    """Code and output are the same whether the process is taken apart or not."""
    done = left(code, heavy)
    assert done.returncode == (code or 0)
    assert done.stdout.split() == ["printed", "registered"]
    assert done.stderr == ""


def test_a_message_is_a_failure() -> None:
    """Exiting with a text gives code 1, as Python has it."""
    assert left("text", heavy=True).returncode == 1


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_respected(no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a terminal has a colour, unless NO_COLOR is set and not empty."""
    terminal = Terminal()
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stderr", terminal)
    print_error(UserError("wrong"))
    assert ("\x1b[" in terminal.getvalue()) is coloured
    assert "wrong" in terminal.getvalue()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PermissionError(13, "Permission denied", "runs/plot.png"), 2),
        (OSError(28, "No space left on device"), 2),
        (OSError(30, "Read-only file system", b"runs"), 2),
        (ConnectionResetError(104, "Connection reset by peer"), 3),
    ],
)
def test_a_place_that_cannot_be_written_is_no_bug(
    failure: OSError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever file a command cannot write, the user gets its name in one line and no traceback."""

    def fail(**_: object) -> None:
        raise failure

    monkeypatch.setattr(cli, "main", fail)
    assert run_command() == code
    said = capsys.readouterr().err
    assert ("Traceback" in said) == (code == 3)
    if code == 2:
        assert said.startswith("Error: ")
        assert str(failure.strerror) in said.splitlines()[0]
        assert said.splitlines()[1].startswith("  hint: ")


@pytest.mark.parametrize(
    ("last_line", "word"),
    [
        ("exit()", "exit()"),
        ("sys.exit(0)", "sys.exit(0)"),
        ("argparse.ArgumentParser().parse_args(['run'])", "parse_args"),
    ],
)
def test_a_users_file_that_ends_the_process_is_named(
    last_line: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is bad input, whatever code it ends with."""
    path = tmp_path / "mine.py"
    path.write_text(f"import argparse, sys\n\n{last_line}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO())  # which exit() closes
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "main", lambda **_: runpy.run_path(str(path)))
    assert run_command() == 2
    said = capsys.readouterr().err
    assert "Error: mine.py, line 3: " in said
    assert word in said


def test_an_exit_of_a_command_is_its_own() -> None:
    """Nothing of the user's has part in it, so it keeps its code."""
    with pytest.raises(SystemExit) as ended:
        exit_unless_complete([], StopRequest("a full disk"))
    assert ended.value.__traceback__ is not None
    own = ended.value.with_traceback(ended.value.__traceback__.tb_next)  # without the frame of this test
    assert make_exit_error(own) is None


@pytest.mark.parametrize("folder", ["lib/site-packages", "dist-packages", "anywhere"])
def test_an_exit_through_click_is_the_commands_own_wherever_click_is(folder: str, tmp_path: Path) -> None:
    """`pip install --user` and `--target`, and the packages of Debian, are not below this Python's own folder."""
    shutil.copytree(Path(click.__file__).parent, tmp_path / folder / "click")
    code = (
        "import click, sys\nfrom attncli.__main__ import run_command\nfrom attncli.commands import cli\n"
        "cli.main = click.Command('x', callback=lambda: sys.exit(1)).main\nsys.argv[1:] = []\n"
        "print(click.__file__)\nrun_command()"
    )
    path = os.pathsep.join((str(tmp_path / folder), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert str(tmp_path / folder) in done.stdout
