"""Turn errors of torch that a user can fix into errors with a hint."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from attncli.errors import RunFailedError
from attncli.recipe import Train
from attncli.train import distributed


@contextmanager
def translated_torch_errors(settings: Train) -> Iterator[None]:
    """Turn what a user can fix into a RunFailedError; any other error stays as it is.

    These are: out of memory, a lost process of the run, a failing compiler, a batch too small for a norm.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _make_out_of_memory_error(settings) from error
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower():
            raise distributed.make_peer_lost_error() from error
        if "DefaultCPUAllocator" in str(error):
            raise _make_out_of_memory_error(settings) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise RunFailedError(
                f"train.compile: torch.compile failed: {str(error).strip().splitlines()[0]}",
                "set train.compile=false, or install the missing compiler",
            ) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RunFailedError(
            f"train.batch_size={settings.batch_size}: a norm over the batch has a single value per channel",
            "use a batch of two or more images",
        ) from error


def _make_out_of_memory_error(settings: Train) -> RunFailedError:
    return RunFailedError(
        f"out of memory with train.batch_size={settings.batch_size}",
        "use a smaller train.batch_size or data.image_size",
    )
