"""The number format of a training: checked against the hardware, never replaced silently."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Literal

import torch

from attncli.errors import UserError
from attncli.system import hardware
from attncli.train.device import is_torch_from
from attncli.train.emulation import EmulatedConvolutions

CpuKernels = Literal["avx2 fp32", "avx512 fp32", "amd avx512 fp32", "avx512 bf16", "amx bf16"]

MPS_BF16_NORM = (2, 12)  # the first release whose batch norm takes bf16 on Apple GPUs (pytorch 178775)
_BF16_FEATURES = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"}  # x86 and ARM names


def resolve_precision(requested: str, device: torch.device) -> str:
    """Return the format to train in: `auto` gives `bf16` if the device has it natively, else `fp16` on CUDA and `fp32`.

    Raises UserError for fp16 on a device other than CUDA (a CPU would compute in fp32 instead), for tf32 on a device
    without such products, and for bf16 on an Apple GPU with a torch whose batch norm cannot take it.
    """
    if requested == "auto":
        return "bf16" if has_native_bf16(device) else "fp16" if device.type == "cuda" else "fp32"
    hint = "set train.precision=bf16 or fp32; auto chooses the fastest native format"
    if requested == "fp16" and device.type != "cuda":
        raise UserError(f"train.precision: fp16 needs a CUDA device, and this run is on '{device.type}'", hint)
    if requested == "tf32" and not has_tf32(device):
        raise UserError(
            "train.precision: tf32 needs an NVIDIA GPU of compute capability 8.0, "
            f"and this run is on '{device.type}'{' of ROCm' if torch.version.hip else ''}",
            hint,
        )
    if requested == "bf16" and device.type == "mps" and not is_torch_from(MPS_BF16_NORM):
        raise UserError(
            f"train.precision: bf16 on 'mps' needs torch {MPS_BF16_NORM[0]}.{MPS_BF16_NORM[1]}, "
            f"and this is {torch.__version__}",
            "set train.precision=fp32, or update torch",
        )
    return requested


def has_tf32(device: torch.device) -> bool:
    """Return whether the device multiplies float32 rounded to 10 bits of mantissa: CUDA, from Ampere on; not ROCm."""
    return device.type == "cuda" and not torch.version.hip and torch.cuda.get_device_capability(device) >= (8, 0)


def has_native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return sys.platform != "darwin" and bool(_BF16_FEATURES & _read_cpu_features()) and _onednn_takes_bf16()
    return False


def has_amx_bf16() -> bool:
    """Return whether this CPU has instructions that multiply tiles of bfloat16 (AMX), beside those for vectors."""
    return "amx_bf16" in _read_cpu_features()


def choose_cpu_kernels(precision: str) -> CpuKernels | None:
    """Return which of torch's kernels this CPU computes `fp32` or `bf16` with, None for another format or emulation."""
    has_avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    if precision == "fp32" and not has_avx512:
        return "avx2 fp32"
    if precision == "fp32":
        return "amd avx512 fp32" if hardware.is_amd_processor() else "avx512 fp32"
    if precision == "bf16" and has_avx512 and has_native_bf16(torch.device("cpu")):
        return "amx bf16" if has_amx_bf16() else "avx512 bf16"
    return None


def autocast_context(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a network computes in `precision` (as `resolve_precision` gives it)."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    context = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    if precision == "bf16" and device.type == "cpu" and not has_native_bf16(device):
        return _emulated_bf16(context)
    return context


@contextmanager
def _emulated_bf16(context: AbstractContextManager[None]) -> Iterator[None]:
    with context, EmulatedConvolutions():
        yield


@cache
def _onednn_takes_bf16() -> bool:
    """Return whether oneDNN, which multiplies for torch, is there and takes bf16; ONEDNN_MAX_CPU_ISA may forbid it."""
    is_supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return torch.backends.mkldnn.is_available() and (is_supported is None or is_supported())


@cache
def _read_cpu_features() -> set[str]:
    """Return the names of the processor's features, from torch (2.10 and later), else from the kernel."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    if get_capabilities is not None:
        return {name for name, value in get_capabilities().items() if value is True}
    lines = hardware.read_cpuinfo_lines()
    return {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}
