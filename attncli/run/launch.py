"""A run in several processes on this machine, started by torch's elastic launcher; its ending is reported once."""

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from attncli.errors import LAUNCHER_FOLDER_VARIABLE, RunFailedError, UserError
from attncli.system import gpu_support
from attncli.system.memory_limit import check_process_memory
from attncli.system.signals import name_signal

SHUTDOWN_S = 150  # time that processes have to save and end before they are killed
RESUME_HINT = "the same command resumes from the last checkpoint"


def launch_ranks(processes: int, arguments: Sequence[str]) -> None:
    """Run `attncli ARGUMENTS` in several processes: with gloo on CPUs, with one GPU each if there are GPUs.

    Raises UserError for more processes than GPUs or than fit into memory, for a device that is not there, for whatever
    ended the run, and (exit code 130) for a signal.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check_devices(processes)
    check_process_memory("--processes", processes)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_S))
    with tempfile.TemporaryDirectory() as report_dir, silenced_launcher():
        os.environ[LAUNCHER_FOLDER_VARIABLE] = report_dir
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=report_dir),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "attncli", *arguments)
        except SignalException as error:
            raise make_launch_error(Path(report_dir), {}, processes, stopped=True) from error
        except RendezvousError as error:
            raise make_rendezvous_error(error, processes) from error
        except ChildFailedError as error:
            exit_codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise make_launch_error(Path(report_dir), exit_codes, processes) from error
        finally:
            del os.environ[LAUNCHER_FOLDER_VARIABLE]


def _check_devices(processes: int) -> None:
    """Refuse here what every process would refuse after its start; this does not wait for Accelerate to load."""
    requested, count = gpu_support.read_requested_device(), torch.cuda.device_count()
    if ":" in requested or requested == "mps":
        raise gpu_support.make_shared_device_error(requested, processes)
    if requested == "cuda" and not count:
        raise gpu_support.make_missing_device_error(requested)
    if requested in ("", "cuda") and 0 < count < processes:
        raise UserError(
            f"--processes {processes}: there {'is 1 GPU' if count == 1 else f'are {count} GPUs'}",
            "use at most one process per GPU, or --device cpu",
        )


@contextmanager
def silenced_launcher() -> Iterator[None]:
    """Silence the launcher's own reports within the block, then restore the signal handlers it replaced."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")  # Windows lacks the last two
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous_handlers: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def make_rendezvous_error(error: Exception, processes: int) -> UserError:
    """Return the error for processes that torch cannot connect; torch for Windows mostly lacks what that takes."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    first_line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return UserError(
        f"--processes {processes}: torch cannot connect the processes: {first_line}",
        "train in one process" + (", or in WSL" if os.name == "nt" or "libuv" in first_line else ""),
    )


def make_launch_error(
    report_dir: Path, exit_codes: dict[int, int], processes: int, *, stopped: bool = False
) -> UserError:
    """Return why a run ended, from its processes' reports in the folder and their exit codes by rank (-n: signal n).

    An error of one process alone explains the errors that all the others report.
    """
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(report_dir.glob("*.json"))]
    reports.sort(key=lambda report: (report["common"], report["rank"]))
    kill_signals = {rank: name_signal(-code) for rank, code in exit_codes.items() if code < 0}
    if reports and (stopped or not kill_signals or not reports[0]["common"]):
        report = reports[0]
        if report["trace"]:
            sys.stderr.write(report["trace"])
        return UserError(report["problem"], report["hint"], code=report["code"])
    if stopped:
        return UserError("interrupted", RESUME_HINT, code=130)
    for rank, name in kill_signals.items():
        return RunFailedError(f"process {rank} of {processes} was killed by {name}", RESUME_HINT)
    exit_list = ", ".join(f"process {rank} with exit code {code}" for rank, code in exit_codes.items())
    return RunFailedError(f"the run ended without an error message: {exit_list}", RESUME_HINT)
