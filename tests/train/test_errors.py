"""Errors of torch in words for users."""

import pytest
import torch

from attncli.errors import RunFailedError, UserError
from attncli.train import AllRanksError, evaluate_split
from attncli.train.errors import translated_torch_errors
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
    ],
)
def test_out_of_memory_of_devices_and_their_libraries(text):
    """They say it in their own words, as plain RuntimeErrors."""
    with pytest.raises(RunFailedError, match="out of memory"), translated_torch_errors(recipe().train):
        raise RuntimeError(text)


def test_what_apple_gpus_lack_is_bad_input():
    """An operation that is missing there is said in a line, with the way out."""
    text = "Adaptive pool MPS: input sizes must be divisible by output sizes.\nmore"
    with pytest.raises(UserError, match="Apple GPU: Adaptive pool") as caught, translated_torch_errors(recipe().train):
        raise RuntimeError(text)
    assert (caught.value.code, caught.value.hint[:12]) == (2, "--device cpu")


def test_what_nccl_says_of_a_lost_process_is_kept():
    """The first line of its error says which one, or that two share a GPU."""
    error = torch.distributed.DistBackendError("NCCL error: Duplicate GPU detected\nmore")
    told = pytest.raises(AllRanksError, match=r"has ended: NCCL error: Duplicate GPU detected$")
    with told, translated_torch_errors(recipe().train):
        raise error


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


def test_other_errors_stay():
    """A bug keeps its own error."""
    for kind in (RuntimeError, ValueError):
        with pytest.raises(kind, match="shape"), translated_torch_errors(recipe().train):
            raise kind("shape mismatch")
