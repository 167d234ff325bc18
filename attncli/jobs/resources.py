"""The share of the machine that each job gets: cores, and one GPU if there are GPUs. No torch."""

import os
import re
from functools import cache

from attncli.system import gpu_support, hardware


def threads_per_job(jobs: int) -> int:
    """Return the threads per job: an equal share of the cores, at most OMP_NUM_THREADS."""
    cores, omp_threads = hardware.count_cores(), os.environ.get("OMP_NUM_THREADS", "")
    most_threads = int(omp_threads) if omp_threads.isdecimal() and int(omp_threads) else cores
    return max(1, min(cores // jobs, most_threads))


@cache
def list_gpus() -> tuple[str, ...]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them: those it allows, else those that the driver lists.

    Of a card that is divided (MIG), each part counts. Empty if torch cannot use them, if there is no driver, or if
    `--device` asks for another device. With a torch for ROCm the variable is HIP_VISIBLE_DEVICES.
    """
    requested = gpu_support.read_requested_device()
    if requested in ("cpu", "mps") or ":" in requested:
        return ()
    visible_gpus = os.environ.get(choose_visibility_variable())
    if visible_gpus is not None and not gpu_support.select_visible_gpus(visible_gpus):
        return ()
    if gpu_support.read_torch_build().rocm:
        numbers = tuple(map(str, range(hardware.count_amd_gpus())))
        return numbers if visible_gpus is None else gpu_support.select_visible_gpus(visible_gpus, numbers)
    if gpu_support.find_gpu_obstacle():
        return ()
    numbers = hardware.query_gpus("index")
    if visible_gpus is None:
        return hardware.list_gpu_parts() or numbers
    has_driver = bool(numbers) or hardware.has_cuda_driver()
    if not has_driver:
        return ()
    return gpu_support.select_visible_gpus(visible_gpus, numbers, hardware.list_gpu_identifiers())


def choose_visibility_variable() -> str:
    """Return the variable that says which GPUs a process may use."""
    return "HIP_VISIBLE_DEVICES" if gpu_support.read_torch_build().rocm else "CUDA_VISIBLE_DEVICES"


def choose_job_count() -> int:
    """Return the default number of jobs at a time: one per GPU, else one."""
    return max(1, len(list_gpus()))


def count_timing_places(jobs: int) -> int:
    """Return how many networks may be timed at a time: one per GPU if they are of one kind, with its cores; else one.

    A speed belongs to the kind of GPU that it was timed on, and on CPUs each timing needs the machine for itself.
    """
    gpus = list_gpus()
    has_parts = any(gpu.startswith("MIG") for gpu in gpus)  # of a divided card, which may differ in size
    if len(gpus) < 2 or has_parts or len(set(hardware.list_gpu_names())) != 1:
        return 1
    return max(1, min(jobs, len(gpus), hardware.count_cores()))


def name_timing_lock(device_type: str, index: int) -> str:
    """Return the name of the file that a timing locks: one for the CPUs, one for each GPU as the launcher names it."""
    if device_type == "cpu":
        return ".timing.lock"
    visible = [name.strip() for name in os.environ.get(choose_visibility_variable(), "").split(",") if name.strip()]
    name = visible[index] if index < len(visible) else str(index)
    return f".timing.{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock"


def build_job_environment(number: int, jobs: int) -> dict[str, str]:
    """Return the environment of job `number` (from 0) of `jobs`. A single job keeps the whole machine."""
    variables = dict(os.environ)
    if jobs > 1:
        variables |= {name: str(threads_per_job(jobs)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if jobs > 1 and list_gpus():
        if choose_visibility_variable() not in variables:  # else CUDA would number the fastest GPU 0, unlike the driver
            variables.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        variables[choose_visibility_variable()] = list_gpus()[number % len(list_gpus())]
    return variables
