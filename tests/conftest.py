"""What holds for all tests: what they ran on is told, Ctrl-C ends them, exact counts are made once for all of them."""

import os
import platform
import signal
from pathlib import Path

import pytest
import torch

from attncli.train.precision import has_native_bf16


def pytest_configure() -> None:
    """Ctrl-C interrupts, even where the tests were started in the background of a script, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tell what the tests run on, first, so that a run that is cut off has told it too."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput"):
        reporter.write_line(ran_on())


def ran_on() -> str:
    """Return versions, instruction set and whether it has bf16: figures and faults may depend on each of them."""
    bf16 = "native" if has_native_bf16(torch.device("cpu")) else "not native"
    forced = [f"{n}={os.environ[n]}" for n in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if n in os.environ]
    parts = (f"torch {torch.__version__}", f"Python {platform.python_version()}", platform.machine())
    return ", ".join((*parts, f"{torch.backends.cpu.get_cpu_capability()}, bf16 {bf16}", *forced))


@pytest.fixture(scope="session", autouse=True)
def _counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep exact counts of networks in one file for the session and all its workers, and none in the user's home."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["ATTNCLI_COUNTS"] = str(Path(folder) / "counts.json")
