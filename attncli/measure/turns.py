"""Contenders in processes of their own that take turns: each waits until it is told to go, and tells its seconds.

A process apiece keeps what is set for all of a process (how memory is given back, the number of threads, which
kernels are warm) from one contender's reaching another. While one runs the others wait for a line on their pipe.

    python -m attncli.measure.turns NAME SETTING FOLDER        (SETTING as JSON; lines on stdin, answers on stdout)
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

from attncli.errors import RunFailedError
from attncli.measure.loops import Epoch, Setting, bare, ours

CONTENDERS = ("ours", "bare", "usual", "usual-bf16")
END_S = 10.0


def contender(name: str) -> Callable[[Setting, Path], Epoch]:
    """What makes the contender's epoch of a setting and a folder for its files."""
    if name in ("ours", "bare"):
        return ours if name == "ours" else bare
    if name in ("evaluate", "infer"):
        from attncli.measure import evaluating

        work = evaluating.evaluate if name == "evaluate" else evaluating.infer
        return lambda setting, _: work(setting)
    from attncli.measure.usual import usual

    return partial(usual, fast=name == "usual-bf16")


@contextmanager
def waiting(name: str, setting: Setting) -> Iterator[Callable[[], float]]:
    """A contender in its own process, built and warm; calling it takes a turn and gives the seconds of an epoch.

    Raises RunFailedError with the process's last words where it dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attncli.measure.turns", name, json.dumps(asdict(setting)), folder]
        with answering(name, command) as ask:
            ask()  # builds, fills caches, starts workers
            yield lambda: float(ask()["seconds"])


@contextmanager
def answering(name: str, command: Sequence[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """A process that answers each line on its stdin with a mapping in JSON, as `serve` does; ended with the block."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True, bufsize=1
        )
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def ask() -> dict[str, Any]:
            with suppress(BrokenPipeError):  # the answer, which is none, tells
                asks.write("go\n")
            if answer := answers.readline():
                told: dict[str, Any] = json.loads(answer)
                return told
            raise RunFailedError(f"bench: '{name}' ended: {_last(words)}", "is there enough memory?")

        try:
            yield ask
        finally:
            _end(process, asks, answers)


def contest(turns: Mapping[str, Callable[[], float]], rounds: int) -> list[dict[str, float]]:
    """Seconds of each contender's turn, round by round; who begins rotates."""
    names = list(turns)
    found = []
    for i in range(rounds):
        first = i % len(names)
        found.append({name: turns[name]() for name in names[first:] + names[:first]})
    return found


def _end(process: "subprocess.Popen[str]", *pipes: IO[str]) -> None:
    """Close its input, which ends it, and wait."""
    for pipe in pipes:
        with suppress(BrokenPipeError):
            pipe.close()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last(words: IO[str]) -> str:
    words.seek(0)
    lines = words.read().strip().splitlines()
    return lines[-1] if lines else "without a word"


def serve(work: Callable[[], dict[str, Any]]) -> None:
    """The other end: do the work for each line on stdin; its answer and the `seconds` it took go to stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for _ in sys.stdin:
        began = time.perf_counter()
        told = work()
        answers.write(json.dumps({**told, "seconds": time.perf_counter() - began}) + "\n")
        answers.flush()


def main(name: str, setting: str, folder: str) -> None:
    """The contender's process: an epoch for each line on stdin."""
    epoch = contender(name)(Setting(**json.loads(setting)), Path(folder))
    serve(lambda: {"loss": epoch()})


if __name__ == "__main__":
    main(*sys.argv[1:])
