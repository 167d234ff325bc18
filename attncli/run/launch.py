"""A run in several processes on this machine, started by torch's elastic launcher; its ending is told once."""

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

from attncli.errors import CONFIDED, RunFailedError, UserError

SAVE_S = 150  # that processes have to save and end, before they are killed
ON = "the same command goes on from the last checkpoint"


def launch(processes: int, words: Sequence[str]) -> None:
    """Do `attncli WORDS` in so many processes: gloo on CPUs, a GPU each where there are GPUs.

    Raises UserError for more processes than GPUs, for whatever ended the run, and (exit code 130) for a signal.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if 0 < torch.cuda.device_count() < processes:
        raise UserError(f"--processes {processes}: there are {torch.cuda.device_count()} GPUs", "one process a GPU")
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVE_S))
    with tempfile.TemporaryDirectory() as folder, quiet():
        os.environ[CONFIDED] = folder
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "attncli", *words)
        except SignalException as error:
            raise ended(Path(folder), {}, processes, stopped=True) from error
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise ended(Path(folder), codes, processes) from error
        finally:
            del os.environ[CONFIDED]


@contextmanager
def quiet() -> Iterator[None]:
    """The launcher's own reports left out, and its signal handlers taken back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in before.items():
            signal.signal(number, handler)


def ended(folder: Path, codes: dict[int, int], processes: int, *, stopped: bool = False) -> UserError:
    """Why a run ended, by what its processes left in the folder and their exit codes by rank (-n: signal n).

    What one process alone has met explains what the others saw of it.
    """
    left = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    left.sort(key=lambda word: (word["common"], word["rank"]))
    killed = {rank: signal.Signals(-code).name for rank, code in codes.items() if code < 0}
    if left and (stopped or not killed or not left[0]["common"]):
        word = left[0]
        if word["trace"]:
            sys.stderr.write(word["trace"])
        return UserError(word["problem"], word["hint"], code=word["code"])
    if stopped:
        return UserError("interrupted", ON, code=130)
    for rank, name in killed.items():
        return RunFailedError(f"process {rank} of {processes} was killed by {name}", ON)
    told = ", ".join(f"process {rank} with exit code {code}" for rank, code in codes.items())
    return RunFailedError(f"the run ended without a word: {told}", ON)
