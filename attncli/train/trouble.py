"""Errors of torch that a user can mend, told as such."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from attncli.errors import RunFailedError
from attncli.recipe import Train


@contextmanager
def plainly(settings: Train) -> Iterator[None]:
    """Turn running out of memory and a failing compiler into a RunFailedError; any other error stays as it is."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _memory(settings) from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):
            raise _memory(settings) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise RunFailedError(
                f"train.compile: torch.compile failed: {str(error).strip().splitlines()[0]}",
                "train.compile=false, or install the compiler that it misses",
            ) from error
        raise


def _memory(settings: Train) -> RunFailedError:
    return RunFailedError(
        f"out of memory with train.batch_size={settings.batch_size}", "a smaller train.batch_size or data.image_size"
    )
