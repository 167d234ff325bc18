"""Contenders in processes of their own that take turns: each waits until it is told to go, and tells its seconds.

A process apiece keeps what is set for all of a process (how memory is given back, the number of threads, which
kernels are warm) from one contender's reaching another. While one runs the others wait for a line on their pipe.

    python -m attncli.benchmark.contenders NAME SETTING FOLDER        (SETTING as JSON; lines on stdin, answers on
    stdout)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from attncli.benchmark.training_loops import BenchSetting, EpochRunner, build_attncli_loop, build_bare_loop
from attncli.errors import RunFailedError

CONTENDERS = ("ours", "bare", "usual", "usual-bf16")
END_S = 10.0


def choose_contender(name: str) -> Callable[[BenchSetting, Path], EpochRunner]:
    """What makes the contender's epoch of a setting and a folder for its files."""
    if name in ("ours", "bare"):
        return build_attncli_loop if name == "ours" else build_bare_loop
    if name in ("evaluate", "infer"):
        from attncli.benchmark import evaluation

        build_loop = evaluation.build_evaluation_loop if name == "evaluate" else evaluation.build_inference_loop
        return lambda setting, _: build_loop(setting)
    from attncli.benchmark.dataloader_baseline import build_dataloader_loop

    return partial(build_dataloader_loop, fast=name == "usual-bf16")


@contextmanager
def contender_process(name: str, setting: BenchSetting) -> Iterator[Callable[[], float]]:
    """A contender in its own process, built and warm; calling it takes a turn and gives the seconds of an epoch.

    Raises RunFailedError with the process's last words where it dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attncli.benchmark.contenders", name, json.dumps(asdict(setting)), folder]
        with answering_process(name, command) as send_request:
            send_request()  # builds, fills caches, starts workers
            yield lambda: float(send_request()["seconds"])


@contextmanager
def answering_process(name: str, command: Sequence[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """A process that answers each line on its stdin with a mapping in JSON, as `serve_requests` does; ended with the
    block.
    """
    with tempfile.TemporaryFile("w+") as error_output:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=error_output, text=True, bufsize=1
        )
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def send_request() -> dict[str, Any]:
            with suppress(BrokenPipeError):  # the answer, which is none, tells
                requests.write("go\n")
            if line := answers.readline():
                reply: dict[str, Any] = json.loads(line)
                return reply
            raise RunFailedError(f"bench: '{name}' ended: {_read_last_line(error_output)}", "is there enough memory?")

        try:
            yield send_request
        finally:
            _stop_process(process, requests, answers)


def run_rounds(turns: Mapping[str, Callable[[], float]], rounds: int) -> list[dict[str, float]]:
    """Seconds of each contender's turn, round by round; who begins rotates."""
    names = list(turns)
    seconds_by_round = []
    for i in range(rounds):
        first = i % len(names)
        seconds_by_round.append({name: turns[name]() for name in names[first:] + names[:first]})
    return seconds_by_round


def _stop_process(process: "subprocess.Popen[str]", *pipes: IO[str]) -> None:
    """Close its input, which ends it, and wait."""
    for pipe in pipes:
        with suppress(BrokenPipeError):
            pipe.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read_last_line(error_output: IO[str]) -> str:
    error_output.seek(0)
    lines = error_output.read().strip().splitlines()
    return lines[-1] if lines else "without a word"


def serve_requests(answer_request: Callable[[], dict[str, Any]]) -> None:
    """The other end: do the work for each line on stdin; its answer and the `seconds` it took go to stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for _ in sys.stdin:
        started = time.perf_counter()
        result = answer_request()
        answers.write(json.dumps({**result, "seconds": time.perf_counter() - started}) + "\n")
        answers.flush()


def main(name: str, setting: str, folder: str) -> None:
    """The contender's process: an epoch for each line on stdin."""
    run_epoch = choose_contender(name)(BenchSetting(**json.loads(setting)), Path(folder))
    serve_requests(lambda: {"loss": run_epoch()})


if __name__ == "__main__":
    main(*sys.argv[1:])
