"""Worker processes that take turns: each waits for a line on stdin and answers with one line of JSON on stdout."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from attncli.errors import RunFailedError
from attncli.system.output_encoding import tolerate_unencodable_text

END_S = 10.0


@contextmanager
def answering_process(name: str, command: Sequence[str]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Start a process that runs `serve_requests`, and stop it when the block ends.

    Yields the function that sends a request and returns the answer; it raises RunFailedError if the process dies.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as error_output:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=error_output, text=True, bufsize=1
        )
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def send_request() -> dict[str, Any]:
            with suppress(BrokenPipeError):  # the missing answer shows it
                requests.write("go\n")
            if line := answers.readline():
                reply: dict[str, Any] = json.loads(line)
                return reply
            raise RunFailedError(f"bench: '{name}' ended: {_read_last_line(error_output)}", "is there enough memory?")

        try:
            yield send_request
        finally:
            _stop_process(process, requests, answers)


def serve_requests(answer_request: Callable[[], dict[str, Any]]) -> None:
    """Do the work for each line on stdin, in the worker; write its answer and the `seconds` it took to stdout."""
    answers = os.fdopen(os.dup(1), "w")
    tolerate_unencodable_text("utf-8")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    for _ in sys.stdin:
        started = time.perf_counter()
        result = answer_request()
        answers.write(json.dumps({**result, "seconds": time.perf_counter() - started}) + "\n")
        answers.flush()


def _stop_process(process: "subprocess.Popen[str]", *pipes: IO[str]) -> None:
    """Close the process's input, which ends it, and wait."""
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
    return lines[-1] if lines else "no error message"
