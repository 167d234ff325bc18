"""Turn errors of torch that a user can fix into errors with a hint."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Train
from attncli.train import distributed

# Words in what devices and their libraries say if they get no memory, besides torch.OutOfMemoryError: CPUs, CUDA, ROCm,
# Apple's and Intel's GPUs; cuBLAS, hipBLAS, cuDNN; Apple's GPUs for one tensor beyond their limit.
OUT_OF_MEMORY = (
    "DefaultCPUAllocator", "out of memory", "STATUS_ALLOC_FAILED", "OUT_OF_DEVICE_MEMORY", "Invalid buffer size"
)  # fmt: skip


@contextmanager
def translated_torch_errors(settings: Train) -> Iterator[None]:
    """Turn what a user can fix into a RunFailedError; any other error stays as it is.

    These are: out of memory, a lost process of the run, a failing compiler, a batch too small for a norm, an operation
    that Apple GPUs lack (UserError).
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        first_line = (text.strip().splitlines() or [""])[0]
        if isinstance(error, torch.distributed.DistError) or "gloo" in text.lower():
            raise distributed.make_peer_lost_error(first_line if "NCCL" in text else "") from error
        if is_out_of_memory(error):
            raise _make_out_of_memory_error(settings) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise RunFailedError(
                f"train.compile: torch.compile failed: {first_line}",
                "set train.compile=false, or install the missing compiler",
            ) from error
        if "MPS" in text:
            raise _make_missing_operation_error(first_line) from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RunFailedError(
            f"train.batch_size={settings.batch_size}: a norm over the batch has a single value per channel",
            "use a batch of two or more images",
        ) from error


@contextmanager
def translated_inference_errors() -> Iterator[None]:
    """Turn errors of a trained network on a device into errors with a hint: memory runs out, an operation is missing.

    The other errors stay as they are.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise RunFailedError("out of memory", "--device cpu uses the main memory") from error
        if "MPS" in str(error):
            raise _make_missing_operation_error(str(error).strip().splitlines()[0]) from error
        raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch means that memory ran out, on the CPU or on a GPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def empty_device_cache(device: torch.device) -> None:
    """Give a GPU's memory back that torch keeps for later, such as that of objects that are gone."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _make_missing_operation_error(first_line: str) -> UserError:
    return UserError(
        f"this network cannot be computed on an Apple GPU: {first_line}", "--device cpu computes it on the CPU"
    )


def _make_out_of_memory_error(settings: Train) -> RunFailedError:
    return RunFailedError(
        f"out of memory with train.batch_size={settings.batch_size}",
        "use a smaller train.batch_size or data.image_size",
    )
