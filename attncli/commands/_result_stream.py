"""stdout for the result alone: whatever else prints, a mechanism's file for example, goes to stderr.

So it is with `--json`, with tables for other programs (CSV, LaTeX, Markdown), and in `attncli predict`.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import click

_reserved: list[TextIO] = []  # the stream of the results while stdout leads to stderr


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Lead stdout to stderr within the block, for this process's libraries and child processes too.

    Only `echo_result` still writes to the real stdout. Within another such block nothing changes.
    """
    if _reserved:
        yield
        return
    outer = sys.stdout
    descriptor = _find_descriptor(outer)
    if descriptor is None:  # a test's stream, or none
        result_stream, copy = outer, None
    else:
        outer.flush()
        copy = os.dup(descriptor)
        result_stream = os.fdopen(copy, "w", encoding="utf-8", errors="replace", closefd=False)
        os.dup2(2, descriptor)
    sys.stdout = sys.stderr
    _reserved.append(result_stream)
    try:
        yield
    finally:
        _reserved.remove(result_stream)
        sys.stdout = outer
        if descriptor is not None and copy is not None:
            result_stream.flush()
            _flush_buffers(outer)
            os.dup2(copy, descriptor)
            os.close(copy)


def _flush_buffers(stream: TextIO) -> None:
    """Write what Python and C libraries still keep for stdout, while it leads to stderr."""
    stream.flush()  # of those who write to sys.__stdout__
    with suppress(OSError, AttributeError, TypeError):  # Windows has no such handle
        ctypes.CDLL(None).fflush(None)


def release_stdout() -> None:
    """Give stdout back to the child processes that print the result in place of this one, until this one ends."""
    if _reserved and (copy := _find_descriptor(_reserved[-1])) is not None:
        os.dup2(copy, 1)


def _find_descriptor(stream: TextIO) -> int | None:
    """Return the number of a stream of the operating system, or None for another object."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def echo_result(text: str, *, newline: bool = True) -> None:
    """Print a text on the real stdout."""
    click.echo(text, file=_reserved[-1] if _reserved else None, nl=newline)
    if _reserved:
        _reserved[-1].flush()
