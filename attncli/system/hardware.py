"""Facts about this machine that need no torch: processor, cores, GPUs."""

import ctypes
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from attncli.system.control_groups import read_cpu_limit

MIB = 2**20


@cache
def read_processor_name() -> str:
    """Return the processor's name if the system has it, else its architecture.

    A name that many processors share, such as `AMD EPYC` in a virtual machine or `aarch64`, is followed by the numbers
    that tell them apart: `AMD EPYC (family 25, model 17)`.
    """
    if sys.platform == "darwin":
        return _read_apple_processor_name() or platform.machine()
    first = _read_first_processor()
    if not first:
        return platform.processor() or platform.machine()
    name = first.get("model name", platform.machine())
    if re.search(r"\d[\dA-Z]\d", name.partition(" @ ")[0]):  # a number such as 7B12 or 8480; @ starts the clock
        return name
    columns = {"cpu family": "family", "model": "model", "CPU implementer": "implementer", "CPU part": "part"}
    numbers = [f"{word} {first[column]}" for column, word in columns.items() if column in first]
    return f"{name} ({', '.join(numbers)})" if numbers else name


@cache
def is_amd_processor() -> bool:
    """Return whether the processor is one of AMD's, as far as the system tells."""
    vendor = _read_first_processor().get("vendor_id", platform.processor())
    return "AuthenticAMD" in vendor


def _read_first_processor() -> dict[str, str]:
    """Return what /proc/cpuinfo says about the first processor, by the words of that file."""
    facts: dict[str, str] = {}
    for line in read_cpuinfo_lines():
        column, _, value = line.partition(":")
        facts.setdefault(column.strip(), value.strip())
    facts.pop("", None)
    return facts


def _read_apple_processor_name() -> str:
    """Return the name of a Mac's processor, such as `Apple M3 Pro`; empty if the system does not say it."""
    try:
        query = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def read_cpuinfo_lines() -> list[str]:
    """Return the lines of /proc/cpuinfo, none if the system does not have it."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def count_usable_cpus() -> int | None:
    """Return the number of logical processors that this process may use, or None if it is unknown.

    Within a container they may be fewer than those that it sees.
    """
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = read_cpu_limit()
    return visible if visible is None or limit is None else min(visible, limit)


def count_cores() -> int:
    """Return the number of physical cores that this process may use, at least 1."""
    import psutil  # here, as most commands do not need it

    allowed = count_usable_cpus() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def read_load() -> float | None:
    """Return how many processes ran or waited in the last minute on average, or None if the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def query_gpus(column: str) -> tuple[str, ...]:
    """Return a column of nvidia-smi, such as `name` or `index`, with one value per GPU; none without a driver."""
    try:
        query = ["nvidia-smi", f"--query-gpu={column}", "--format=csv,noheader"]
        output = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in output.splitlines() if line.strip())


@dataclass(frozen=True)
class GpuUse:
    """How busy a GPU is: the share of the time in which it computed anything, and its memory in bytes."""

    busy: float
    used_bytes: int
    total_bytes: int


def read_gpu_use(gpus: Sequence[str]) -> tuple[GpuUse, ...]:
    """Return how busy these GPUs are, named as CUDA_VISIBLE_DEVICES does; empty if nvidia-smi does not say it."""
    columns = "--query-gpu=utilization.gpu,memory.used,memory.total"
    query = ["nvidia-smi", f"--id={','.join(gpus)}", columns, "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
        rows = [[float(cell) for cell in line.split(",")] for line in output.splitlines() if line.strip()]
        return tuple(GpuUse(busy / 100, int(used * MIB), int(total * MIB)) for busy, used, total in rows)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


@dataclass(frozen=True)
class ListedGpu:
    """A GPU, or a part of one that is divided (MIG), as torch names it, with its identifiers.

    `identifier` and `card` are as CUDA_VISIBLE_DEVICES takes them; of a whole GPU both are the same.
    """

    name: str
    identifier: str
    card: str

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a GPU."""
        return self.identifier != self.card


def list_gpu_parts() -> tuple[str, ...]:
    """Return the names of the parts of divided GPUs (MIG-...), as CUDA_VISIBLE_DEVICES takes them; mostly none."""
    return tuple(gpu.identifier for gpu in list_installed_gpus() if gpu.is_part)


def list_gpu_identifiers() -> frozenset[str]:
    """Return the identifiers of the GPUs and of their parts (GPU-..., MIG-...); none without a driver."""
    return frozenset(name for gpu in list_installed_gpus() for name in (gpu.identifier, gpu.card))


def list_installed_gpus() -> tuple[ListedGpu, ...]:
    """Return the GPUs that the driver lists; in place of a divided one, its parts. None without a driver."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus: list[ListedGpu] = []
    for line in listing.splitlines():
        if match := re.match(r"GPU \d+: (.+?)\s+\(UUID:\s*([^)\s]+)\)", line):
            gpus.append(ListedGpu(match[1], match[2], match[2]))
            card = gpus[-1]
        elif gpus and (match := re.match(r"\s+(MIG \S+)\s+Device\s+\d+:\s+\(UUID:\s*([^)\s]+)\)", line)):
            if gpus[-1] is card:
                gpus.pop()
            gpus.append(ListedGpu(f"{card.name} {match[1]}", match[2], card.identifier))
    return tuple(gpus)


@cache
def has_cuda_driver() -> bool:
    """Return whether this machine has the library of NVIDIA's driver, without which there is no GPU for torch."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def read_driver_cuda_release() -> int:
    """Return the release of CUDA that the library of NVIDIA's driver runs, such as 13; 0 if there is none.

    On GPUs for data centres NVIDIA's compatibility package puts the library of a later release on an older driver.
    """
    try:
        library, version = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1"), ctypes.c_int()
        return version.value // 1000 if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def count_amd_gpus() -> int:
    """Return the number of AMD GPUs that the Linux kernel has a compute driver for."""
    nodes = Path("/sys/class/kfd/kfd/topology/nodes").glob("*/gpu_id")
    return sum(path.read_text(encoding="utf-8").strip() not in ("", "0") for path in nodes)


@cache
def list_gpu_names() -> tuple[str, ...]:
    """Return the names, as torch gives them, of the GPUs and parts of GPUs (MIG) that CUDA_VISIBLE_DEVICES allows.

    It chooses by identifier. Its numbers choose none, as CUDA may number GPUs in another order than the driver.
    """
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")]
    if visible in ([""], ["-1"]):
        return ()
    wanted = tuple(name for name in visible if name.startswith(("GPU-", "MIG-")))
    return tuple(
        gpu.name
        for gpu in list_installed_gpus()
        if not wanted or gpu.identifier.startswith(wanted) or gpu.card.startswith(wanted)
    )


def is_this_machine(machine: Mapping[str, Any]) -> bool:
    """Return whether a description by `attncli.measure.environment` is this machine with this release of torch."""
    gpu = machine.get("gpu")
    this_machine = {"cpu": read_processor_name(), "usable_cpus": count_usable_cpus(), "platform": platform.platform()}
    return (
        all(machine.get(name) == value for name, value in this_machine.items())
        and all(
            _strip_local_version(machine.get(name)) == _find_installed_release(name)
            for name in ("torch", "torchvision")
        )
        and (gpu in list_gpu_names() or gpu == "mps" if gpu else not list_gpu_names())
    )


def _strip_local_version(version: object) -> str:
    """Return a version without its local part: the package index leaves out what torch adds (`+cu132`)."""
    return str(version).partition("+")[0]


@cache
def _find_installed_release(name: str) -> str:
    try:
        return _strip_local_version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return ""
