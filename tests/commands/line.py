"""Command lines run through the real entry point: in this process where that will do, else in one of their own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from attncli.__main__ import main

TINY = ("--backbone", "resnet20", "--epochs", "1", "--set", "data.fraction=0.2", "--set", "measure.speed=false")


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON value on stdout."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def line(*words: str) -> Done:
    """Run `attncli WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["attncli", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def process(*words: str, **environment: str) -> Done:
    """Run `python -m attncli WORDS` in a process of its own, with more in its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "attncli", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def refused(done: Done, *words: str, code: int = 2, errors: int = 1) -> None:
    """Assert that a command failed as it should: so many problems with a hint each, which say `words`, and no more."""
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    starts = [i for i, text in enumerate(lines) if text.startswith("Error: ")]
    assert len(starts) == errors, done.err
    assert all(lines[i + 1].startswith("  hint: ") for i in starts), done.err
    if code == 2:  # nothing had begun, so there was nothing else to tell
        assert len(lines) == 2 * errors, done.err
    told = "\n".join(lines[starts[0] :])
    for word in words:
        assert word in told, done.err


def run_folders(runs: Path = Path("runs")) -> list[Path]:
    """The folders of runs that were begun."""
    return [path for path in runs.glob("*") if path.is_dir() and len(path.name) == 12]
