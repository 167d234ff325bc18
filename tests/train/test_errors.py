"""Errors of torch in words for users."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from attncli.errors import RunFailedError, UserError
from attncli.train import AllRanksError, combine_flags, evaluate_split
from attncli.train.errors import translated_inference_errors, translated_torch_errors
from tests.train.case import Net, dataset, net, recipe, run


class Huge(Net):
    """A net that asks for more memory than there is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Never returns."""
        return super().forward(x) + torch.empty(1 << 60)


def test_out_of_memory():
    """Training and evaluation that do not fit name the batch size."""
    with pytest.raises(RunFailedError, match=r"out of memory with train\.batch_size=8"):
        run(net(Huge), recipe())
    with pytest.raises(RunFailedError, match=r"out of memory with train\.batch_size=8"):
        evaluate_split(net(Huge), dataset().test, dataset(), recipe(), name="test")


def test_out_of_memory_on_an_accelerator():
    """An accelerator's own error is told alike."""
    with pytest.raises(RunFailedError, match="out of memory") as caught, translated_torch_errors(recipe().train):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert "train.batch_size" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nmore",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED when",
        "HIP error: out of memory",
        "HIPBLAS_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 9.0 GB, other allocations: 1.0 GB, max allowed: 10.0 GB).",
        "Invalid buffer size: 12.00 GiB",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "NCCL error in: /torch/NCCLUtils.cpp:94, unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'",
    ],
)
def test_out_of_memory_of_devices_and_their_libraries(text):
    """They say it in their own words, as plain RuntimeErrors."""
    with pytest.raises(RunFailedError, match="out of memory"), translated_torch_errors(recipe().train):
        raise RuntimeError(text)


@pytest.mark.parametrize("way", ["FIND", "GET"])
def test_a_convolution_without_memory(way):
    """torch catches the want of memory of each of cuDNN's ways, and then says only that it found none."""
    told = pytest.raises(RunFailedError, match=r"no memory for a convolution, or no kernel, with train\.batch_size=8")
    with told, translated_torch_errors(recipe().train):
        raise RuntimeError(f"{way} was unable to find an engine to execute this computation")


@pytest.mark.parametrize("translate", [lambda: translated_torch_errors(recipe().train), translated_inference_errors])
@pytest.mark.parametrize(
    "text",
    [
        "uncorrectable ECC error encountered",
        "the launch timed out and was terminated",
        "the MPS client has been terminated by the server",
        "MPS client failed to connect to the MPS control daemon or the MPS server",
    ],
)
def test_a_gpu_that_fails(text, translate):
    """It is no bug of the program, and NVIDIA's Multi-Process Service no Apple GPU."""
    with pytest.raises(RunFailedError, match=f"^the GPU failed: CUDA error: {text}$") as caught, translate():
        raise RuntimeError(f"CUDA error: {text}\nSearch for more")
    assert caught.value.code == 1


def test_what_a_program_does_wrong_on_a_gpu_stays():
    """An index out of range is not the hardware's fault."""
    text = "CUDA error: device-side assert triggered"
    with pytest.raises(RuntimeError, match=text), translated_torch_errors(recipe().train):
        raise RuntimeError(text)


def test_what_apple_gpus_lack_is_bad_input():
    """An operation that is missing there is said in a line, with the way out."""
    text = "Adaptive pool MPS: input sizes must be divisible by output sizes.\nmore"
    with pytest.raises(UserError, match="Apple GPU: Adaptive pool") as caught, translated_torch_errors(recipe().train):
        raise RuntimeError(text)
    assert (caught.value.code, caught.value.hint[:12]) == (2, "--device cpu")


NCCL = "NCCL error in: /pytorch/torch/csrc/NCCLUtils.cpp:94, {}, NCCL 2.30\n{}: This is general.\nLast error:\n{}\n"


@pytest.mark.parametrize(
    ("kind", "cause", "problem", "hint"),
    [
        (
            "ncclInvalidUsage",
            "Duplicate GPU detected : rank 1 and 0",
            "cannot exchange numbers: NCCL: Duplicate",
            "DEBUG",
        ),
        ("ncclSystemError", "Error: /dev/shm/nccl-x: No space left", "NCCL: Error: /dev/shm/nccl-x", "--shm-size"),
        ("ncclRemoteError", "socketProgress: Connection closed", "has ended: socketProgress: Conn", "same command"),
        ("ncclInternalError", "", "NCCL: ncclInternalError: This is general", "NCCL_DEBUG"),
    ],
)
def test_what_nccl_says_is_told(kind, cause, problem, hint):
    """Its last line has the cause, the first a line of torch's code; a process is lost only if it says so."""
    error = torch.distributed.DistBackendError(NCCL.format("some error", kind, cause))
    with pytest.raises(AllRanksError, match=problem) as caught, translated_torch_errors(recipe().train):
        raise error
    assert hint in caught.value.hint


def test_processes_that_cannot_exchange_flags_say_why():
    """Before the training too, at the first exchange: a line, and no traceback."""
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    accelerator.reduce = Mock(side_effect=torch.distributed.DistBackendError(NCCL.format("x", "y", "no network")))
    with pytest.raises(AllRanksError, match="NCCL: no network"):
        combine_flags(accelerator, True)


def test_a_compiler_that_fails():
    """What torch.compile misses is told in a line, with the way out."""
    failure = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    with pytest.raises(RunFailedError, match="No working C") as caught, translated_torch_errors(recipe().train):
        raise failure("No working C++ compiler found\n\nand more")
    assert "\n" not in caught.value.problem
    assert "train.compile=false" in caught.value.hint


class Pooled(Net):
    """A net whose norm sees maps of one value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the mean image."""
        return super().forward(x.mean((2, 3), keepdim=True))


def test_a_batch_too_small_for_a_norm():
    """A norm that sees one value a channel names the batch size; two images will do."""
    with pytest.raises(RunFailedError, match=r"train\.batch_size=1: a norm") as caught:
        run(net(Pooled), recipe(batch_size=1))
    assert "two or more" in caught.value.hint
    run(net(Pooled), recipe(batch_size=2, epochs=1))


def test_a_part_too_small_for_a_norm():
    """Of a batch in parts it is the parts that are too many, and the batch has images enough."""
    with pytest.raises(RunFailedError, match=r"train\.accumulate=4: a norm over a part of one image") as caught:
        run(net(Pooled), recipe(batch_size=10, accumulate=4))  # 3, 3, 3 and 1
    assert "fewer parts" in caught.value.hint
    run(net(Pooled), recipe(batch_size=10, accumulate=3, epochs=1))


def test_other_errors_stay():
    """A bug keeps its own error."""
    for kind in (RuntimeError, ValueError):
        with pytest.raises(kind, match="shape"), translated_torch_errors(recipe().train):
            raise kind("shape mismatch")
