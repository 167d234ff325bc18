"""Turn errors of torch that a user can fix into errors with a hint."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Train
from attncli.train.exchange_errors import explain_exchange_failure

# Words in what devices and their libraries say if they get no memory, besides torch.OutOfMemoryError: CPUs, CUDA, ROCm,
# Apple's and Intel's GPUs; cuBLAS, hipBLAS, cuDNN; Apple's GPUs for one tensor beyond their limit.
NO_ENGINE = "unable to find an engine"  # torch tried all of cuDNN's ways to convolve, most of which lacked memory
OUT_OF_MEMORY = (
    "DefaultCPUAllocator", "out of memory", "STATUS_ALLOC_FAILED", "OUT_OF_DEVICE_MEMORY", "Invalid buffer size",
    NO_ENGINE,
)  # fmt: skip
# Words in what CUDA says if a device, its driver or NVIDIA's Multi-Process Service fails, and no program is to blame.
DEVICE_FAILURES = ("uncorrectable", "unknown error", "launch timed out", "MPS client", "MPS server")
UNUSED_PARAMETERS = "Expected to have finished reduction"  # by which DDP notices that a gradient never came


@contextmanager
def translated_torch_errors(settings: Train) -> Iterator[None]:
    """Turn what a user can fix into a RunFailedError; any other error stays as it is.

    These are: out of memory, a lost process of the run, a parameter without a gradient in one of several processes, a
    failing compiler, a batch too small for a norm, a device that fails, an operation that Apple GPUs lack (UserError).
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        first_line = (text.strip().splitlines() or [""])[0]
        if is_out_of_memory(error):  # also of NCCL, which needs memory for its buffers
            raise make_out_of_memory_error(settings, first_line) from error
        if exchange_error := explain_exchange_failure(error):
            raise exchange_error from error
        if UNUSED_PARAMETERS in text:
            raise _make_unused_parameters_error() from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise RunFailedError(
                f"train.compile: torch.compile failed: {first_line}",
                "set train.compile=false, or install the missing compiler",
            ) from error
        if device_error := _explain_device_failure(error):
            raise device_error from error
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise _make_single_value_error(settings) from error


@contextmanager
def translated_inference_errors() -> Iterator[None]:
    """Turn errors of a trained network on a device into errors with a hint: no memory, a device that fails or lacks an
    operation.

    The other errors stay as they are.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise RunFailedError("out of memory", "--device cpu uses the main memory") from error
        if device_error := _explain_device_failure(error):
            raise device_error from error
        raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch means that memory ran out, on the CPU or on a GPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def is_device_failure(error: Exception) -> bool:
    """Return whether a device failed or had no memory, whatever it was to compute."""
    return isinstance(error, RuntimeError) and (is_out_of_memory(error) or "CUDA error" in str(error))


def empty_device_cache(device: torch.device) -> None:
    """Give a GPU's memory back that torch keeps for later, such as that of objects that are gone."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _explain_device_failure(error: RuntimeError) -> UserError | None:
    """Return the error for a device that failed, or for an Apple GPU that lacks an operation; None for other errors."""
    first_line = (str(error).strip().splitlines() or [""])[0]
    if "CUDA error" in first_line and any(words in first_line for words in DEVICE_FAILURES):
        return RunFailedError(
            f"the GPU failed: {first_line}",
            "`nvidia-smi` and the system's log (Xid) say more; the same command resumes from the last checkpoint",
        )
    if "MPS" in str(error) and "CUDA" not in first_line:
        problem = f"this network cannot be computed on an Apple GPU: {first_line}"
        return UserError(problem, "--device cpu computes it on the CPU")
    return None


def _make_unused_parameters_error() -> RunFailedError:
    """Return the error for several processes whose network left parameters out of a step."""
    return RunFailedError(
        "a step used only some of the parameters of the network, and several processes exchange the gradients of all",
        "train in one process, without --processes, or use every parameter in each step",
    )


def _make_single_value_error(settings: Train) -> RunFailedError:
    """Return the error for a norm over a batch, or over a part of one, that has a single value per channel."""
    if settings.accumulate > 1:
        return RunFailedError(
            f"train.accumulate={settings.accumulate}: a norm over a part of one image has a single value per channel",
            "use fewer parts, or a larger train.batch_size",
        )
    return RunFailedError(
        f"train.batch_size={settings.batch_size}: a norm over the batch has a single value per channel",
        "use a batch of two or more images",
    )


def make_out_of_memory_error(settings: Train, first_line: str = "") -> RunFailedError:
    """Return the error for a batch that does not fit into memory; `first_line` is what torch says."""
    problem = "cuDNN has no memory for a convolution, or no kernel," if NO_ENGINE in first_line else "out of memory"
    return RunFailedError(
        f"{problem} with train.batch_size={settings.batch_size}",
        "use a smaller train.batch_size or data.image_size",
    )
