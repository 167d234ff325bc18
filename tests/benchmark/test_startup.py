"""The bench of a run's fixed cost: lines with their times, imports by package."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from attncli.benchmark import startup
from attncli.commands.run import command
from attncli.errors import RunFailedError

RUN = """
import sys
print("resnet20 on digits", "epoch 1/2", "epoch 2/2", "test: fine", sep="\\n", file=sys.stderr, flush=True)
sys.stderr.close()
"""


def test_lines_divide_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line ends the start, the last epoch's the training; the three parts are all there is."""
    seconds = iter((100.0, 103.0, 104.0, 108.0, 109.0, 119.0))  # the start, four lines, the end
    monkeypatch.setattr(startup, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    found = startup.time_run(["-c", RUN])
    assert (found.to_training_s, found.training_s, found.to_exit_s) == (3.0, 5.0, 11.0)
    assert found.cpu_s >= 0


def test_a_run_that_fails_is_told() -> None:
    """The last line is in the error; a run without an epoch is none either."""
    with pytest.raises(RunFailedError, match="code 3: out of paint"):
        startup.time_run(["-c", "import sys; print('out of paint', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(RunFailedError, match="ended with code 0"):
        startup.time_run(["-c", ""])


def test_the_run_that_is_timed_is_one_of_ours() -> None:
    """The command line is taken by `attncli run`."""
    assert startup.build_run_command(Path("x"), 3)[:3] == ["-m", "attncli", "run"]
    given = command.make_context("run", startup.build_run_command(Path("x"), 3)[3:]).params
    assert (given["attn"], given["epochs"], given["seed"]) == ("eca", 1, 3)


def test_imports_are_summed_by_package() -> None:
    """Own times of the modules, the slowest package first; other lines are passed over."""
    text = """import time: self [us] | cumulative | imported package
import time:       100 |        100 |   torch._C
import time:      2000 |       2100 | torch
import time:      1500 |       1500 |       numpy.core
resnet20 + eca on digits, seed 0
"""
    assert list(startup.sum_by_package(text).items()) == [("torch", 0.0021), ("numpy", 0.0015)]
