"""Which device was asked for, and whether the installed torch can use this machine's NVIDIA GPUs. No torch."""

import importlib.util
import itertools
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from attncli.errors import UserError, suggest_name
from attncli.system import hardware

DEVICE_VARIABLE = "ATTNCLI_DEVICE"  # what `--device` asks for; processes that a command starts inherit it
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu")
DEVICE_ALIASES = dict.fromkeys(("gpu", "nvidia", "rocm", "hip"), "'cuda'") | dict.fromkeys(("metal", "apple"), "'mps'")
# By CUDA's major version: the oldest driver that runs it, and the lowest compute capability that torch is built for.
LEAST_DRIVERS = {12: 525, 13: 580}
LEAST_CAPABILITIES = {12: 5.0, 13: 7.5}
OLDER_BUILD = "pip install torch torchvision --index-url https://download.pytorch.org/whl/cu126"


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch: its version, and the versions of CUDA and ROCm that it is built for ("" for none)."""

    version: str
    cuda: str
    rocm: str


def check_device_name(name: str) -> str:
    """Return a name as `--device` takes it: a type, for `cuda` and `xpu` with a number if wanted. Raises UserError."""
    if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:(0|[1-9]\d?))?", name):
        raise UserError(
            f"--device {name}: no device has this name",
            f"use cpu, cuda, cuda:1 or mps; {suggest_name(name.partition(':')[0], DEVICE_TYPES, DEVICE_ALIASES)}",
        )
    return name


def read_requested_device() -> str:
    """Return the device that `--device` asked for, or Accelerate's ACCELERATE_USE_CPU; "" if there is no request."""
    if name := os.environ.get(DEVICE_VARIABLE, ""):
        return check_device_name(name)
    return "cpu" if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on") else ""


def make_missing_device_error(name: str) -> UserError:
    """Return the error for a device that was asked for and is not there, with the reason if it is known."""
    problem, hint = find_gpu_obstacle() or (
        f"torch {read_torch_build().version} finds no such device here",
        "leave out --device; `attncli doctor` says what is here",
    )
    return UserError(f"--device {name}: {problem}", hint)


def make_shared_device_error(name: str, processes: int) -> UserError:
    """Return the error for several processes and a device that only one of them can have."""
    return UserError(
        f"--device {name} for {processes} processes",
        "--device cpu, or --device cuda and CUDA_VISIBLE_DEVICES to say which GPUs",
    )


@cache
def read_torch_build() -> TorchBuild:
    """Return what torch's file of versions says; empty if torch is not installed, or says nothing."""
    spec = importlib.util.find_spec("torch")
    try:
        text = Path(str(spec and spec.origin)).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return TorchBuild("", "", "")
    values = {
        name: match[1] if (match := re.search(rf"^{name}\b[^=\n]*= '([^']*)'", text, re.MULTILINE)) else ""
        for name in ("__version__", "cuda", "hip")
    }
    return TorchBuild(values["__version__"], values["cuda"], values["hip"])


@cache
def find_gpu_obstacle() -> tuple[str, str] | None:
    """Return why torch cannot use this machine's NVIDIA GPUs, and the remedy; None if it can, or if there are none.

    GPUs that CUDA_VISIBLE_DEVICES hides do not count.
    """
    names = hardware.list_gpu_names()
    if not names:
        return None
    build, gpus = read_torch_build(), f"{len(names)} x {names[0]}"
    if not build.cuda:
        return f"{gpus} cannot be used: torch {build.version} is built without CUDA", OLDER_BUILD
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not select_visible_gpus(
        visible, hardware.query_gpus("index"), hardware.list_gpu_identifiers()
    ):
        problem = f"{gpus} cannot be used: CUDA_VISIBLE_DEVICES={visible[:80]} selects none of them"
        return problem, f"unset it, or name GPUs from 0 to {len(names) - 1}, each once; an empty value hides them all"
    major, what = int(build.cuda.partition(".")[0]), f"torch {build.version} for CUDA {build.cuda}"
    driver = next(iter(hardware.query_gpus("driver_version")), "")
    least_driver = LEAST_DRIVERS.get(major, 0)
    is_old = 0 < _parse_number(driver) < least_driver
    if is_old and hardware.read_driver_cuda_release() < major:
        return (
            f"{gpus} cannot be used: driver {driver} is too old for {what}",
            f"install driver {least_driver} or later, or {OLDER_BUILD}",
        )
    capabilities = [_parse_number(text) for text in hardware.query_gpus("compute_cap")]
    least_capability = LEAST_CAPABILITIES.get(major, 0.0)
    if capabilities and all(0 < capability < least_capability for capability in capabilities):
        return (
            f"{gpus} cannot be used: compute capability {max(capabilities)} is too low for {what}, "
            f"which needs {least_capability}",
            OLDER_BUILD,
        )
    return None


def select_visible_gpus(names: str, numbers: Sequence[str] = (), identifiers: Collection[str] = ()) -> tuple[str, ...]:
    """Return the GPUs of CUDA_VISIBLE_DEVICES as CUDA reads it.

    The list ends at the first name that no GPU has, and a GPU that is named twice makes it empty.

    Args:
        names: the variable: numbers, identifiers (GPU-... or MIG-...) or their beginnings, separated by commas.
        numbers: those of the GPUs that there are; empty if this is not known.
        identifiers: those of the GPUs and their parts that there are; empty if this is not known.
    """

    def find_gpu(name: str) -> str | None:
        if name.isascii() and name.isdecimal():
            return name if not numbers or name in numbers else None
        if not name.startswith(("GPU-", "MIG-")):
            return None
        if not identifiers or name.startswith("MIG-GPU-"):  # how drivers before 470 named parts
            return name
        found = [identifier for identifier in identifiers if identifier.startswith(name)]
        return found[0] if len(found) == 1 else None

    selected = list(itertools.takewhile(find_gpu, (name.strip() for name in names.split(","))))
    has_repeats = len(set(map(find_gpu, selected))) < len(selected)
    return () if has_repeats else tuple(selected)


def _parse_number(text: str) -> float:
    """Return the number at the beginning of a text such as `570.86.15` or `7.5`, 0 if there is none."""
    match = re.match(r"\d+(\.\d+)?", text)
    return float(match[0]) if match else 0.0
