"""Errors of the exchange between the processes of a run, in words for users."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from attncli.errors import RunFailedError

RESUME_HINT = "the same command resumes from the last checkpoint"
LOST_PEER = ("ncclRemoteError", "key-value store", "Connection reset", "Connection closed")  # words of NCCL's errors


class AllRanksError(RunFailedError):
    """A failure that all processes of a run see alike, so only the first one reports it."""

    on_all_ranks = True


@contextmanager
def translated_exchange_errors() -> Iterator[None]:
    """Turn errors of NCCL and gloo into an AllRanksError; the other errors stay as they are."""
    try:
        yield
    except RuntimeError as error:
        if exchange_error := explain_exchange_failure(error):
            raise exchange_error from error
        raise


def explain_exchange_failure(error: RuntimeError) -> AllRanksError | None:
    """Return why the processes of a run cannot exchange numbers, or None if the error is another one."""
    text = str(error)
    if not (isinstance(error, torch.distributed.DistError) or "gloo" in text.lower()):
        return None
    cause = find_nccl_cause(text) if "NCCL" in text else ""
    if not cause or any(words in text for words in LOST_PEER):
        problem = "another process of this run has ended" + (f": {cause}" if cause else "")
        return AllRanksError(problem, RESUME_HINT)
    hint = f"NCCL_DEBUG=INFO says more; {RESUME_HINT}"
    if "/dev/shm" in text:
        hint = f"give the container more shared memory, such as docker run --shm-size=1g; {RESUME_HINT}"
    return AllRanksError(f"the processes of this run cannot exchange numbers: NCCL: {cause}", hint)


def find_nccl_cause(text: str) -> str:
    """Return the last line of an error of NCCL: the first one is a place in torch's code and the kind of the error."""
    lines = [line.strip() for line in text.partition("Exception raised from")[0].splitlines()]
    return [line for line in lines if line and line != "Last error:"][-1]


def explain_failed_connection(error: RuntimeError) -> AllRanksError:
    """Return why the processes of a run did not find each other at the start."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return AllRanksError(
        f"the processes of this run cannot connect: {first_line}",
        "all machines need the same MASTER_ADDR and MASTER_PORT, and a port that is free and open",
    )
