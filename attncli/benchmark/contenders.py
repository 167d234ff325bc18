"""The contenders of the training and evaluation benches: their names, and each one in a process of its own.

A process per contender keeps process-wide settings (how memory is given back, the number of threads, which kernels
are warm) from affecting the other contenders. While one runs, the others wait for a line on their pipe.

    python -m attncli.benchmark.contenders NAME SETTING FOLDER

SETTING is JSON; `attncli.benchmark.worker_process` describes the lines on stdin and stdout.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from attncli.benchmark.evaluation_loops import build_evaluation_loop, build_inference_loop
from attncli.benchmark.training_loops import BenchSetting, EpochRunner, build_attncli_loop, build_bare_loop
from attncli.benchmark.worker_process import answering_process, serve_requests

CONTENDERS = ("ours", "bare", "bare-contiguous", "usual", "usual-bf16")


def choose_contender(name: str) -> Callable[[BenchSetting, Path], EpochRunner]:
    """Return the function that builds the contender's epoch from a setting and a folder for its files."""
    if name == "ours":
        return build_attncli_loop
    if name in ("bare", "bare-contiguous"):
        return partial(build_bare_loop, channels_last=name == "bare")
    if name in ("evaluate", "infer"):
        build_loop = build_evaluation_loop if name == "evaluate" else build_inference_loop
        return lambda setting, _: build_loop(setting)
    from attncli.benchmark.dataloader_baseline import build_dataloader_loop  # PIL and torchvision: only if needed

    return partial(build_dataloader_loop, fast=name == "usual-bf16")


@contextmanager
def contender_process(name: str, setting: BenchSetting) -> Iterator[Callable[[], float]]:
    """Start a contender in its own process, built and warm; each call of what is yielded returns an epoch's seconds.

    Raises RunFailedError with the last line of the process's stderr if it dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attncli.benchmark.contenders", name, json.dumps(asdict(setting)), folder]
        with answering_process(name, command) as send_request:
            send_request()  # builds, fills caches, starts workers
            yield lambda: float(send_request()["seconds"])


def main(name: str, setting: str, folder: str) -> None:
    """Run the contender's process: one epoch per line on stdin."""
    run_epoch = choose_contender(name)(BenchSetting(**json.loads(setting)), Path(folder))
    serve_requests(lambda: {"loss": run_epoch()})


if __name__ == "__main__":
    main(*sys.argv[1:])
