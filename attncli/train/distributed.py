"""The processes of a run: one, or several that `torchrun` started, each with its device and its share of the cores."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, check_cuda_p2p_ib_support
from torch import Tensor, nn

from attncli.errors import UserError
from attncli.model.host_generators import seed_host_generators
from attncli.quantities import format_quantity
from attncli.system import gpu_support, hardware
from attncli.system.control_groups import read_cpu_limit
from attncli.system.launcher import read_process_rank
from attncli.train import device as devices
from attncli.train.exchange_errors import AllRanksError, explain_failed_connection, translated_exchange_errors
from attncli.train.malloc import tune_malloc

T = TypeVar("T")


_CLOSED_GROUPS: list[Any] = []  # kept until the process ends: torch 2.6 may wait forever when it frees one of gloo


def init_accelerator() -> Accelerator:
    """Return an Accelerator for the processes and the device; set up memory allocation and threads for them.

    It handles no number formats and no trackers: this project does both itself.
    Raises UserError if fewer processes found each other than the launcher announced.
    """
    process_rank = read_process_rank()
    if not process_rank.has_launcher:
        os.environ.pop("LOCAL_RANK", None)  # left by something else; on GPUs Accelerate would wait for other processes
    tune_malloc()
    announced_processes = process_rank.processes
    accelerator = _make_accelerator(announced_processes, process_rank.local_processes)
    if accelerator.num_processes != announced_processes:
        raise UserError(
            f"WORLD_SIZE is {announced_processes}, yet this process is one of {accelerator.num_processes}",
            "start with `torchrun --nproc-per-node N -m attncli ...`, or unset WORLD_SIZE",
        )
    local_processes = process_rank.local_processes
    if local_processes > 1:  # a launcher has set OMP_NUM_THREADS to 1 for them; one process keeps torch's own choice
        torch.set_num_threads(threads_per_rank(local_processes))
    elif not os.environ.get("OMP_NUM_THREADS"):
        _keep_to_cpu_limit()
    return accelerator


def _keep_to_cpu_limit() -> None:
    """Let torch, which takes a thread for each core that it sees, have no more than a container has processors."""
    limit = read_cpu_limit()
    if limit is not None and limit < torch.get_num_threads():
        torch.set_num_threads(limit)


def _make_accelerator(processes: int, local_processes: int) -> Accelerator:
    """Return an Accelerator on the chosen device that changes nothing else. Raises UserError for what it cannot do."""
    devices.check_launcher_settings()
    device = choose_rank_device(processes, local_processes)
    if device.type == "cuda" and not check_cuda_p2p_ib_support():  # several RTX 40xx with an old driver
        os.environ |= {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
    if device.index is not None and processes == 1:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    else:
        os.environ.pop("ACCELERATE_TORCH_DEVICE", None)
    # every process has the same buffers (sync_batch_norm), and gradients need no second copy
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    try:
        return Accelerator(
            cpu=device.type == "cpu", mixed_precision="no", log_with=None, dynamo_backend="no", kwargs_handlers=[ddp]
        )
    except ValueError as error:
        raise devices.explain_refused_settings(error) from error
    except torch.distributed.DistError as error:
        raise explain_failed_connection(error) from error


def choose_rank_device(processes: int, local_processes: int) -> torch.device:
    """Return the device of one of `processes`, `local_processes` of them on this machine; for CUDA without a number.

    On Apple's GPU there is no way for several processes to exchange gradients, so they train on the CPU.
    Raises UserError for more processes than GPUs, or for one GPU for several processes.
    """
    if processes == 1:
        return devices.choose_device()
    requested = gpu_support.read_requested_device()
    if ":" in requested or requested == "mps":
        raise gpu_support.make_shared_device_error(requested, processes)
    device = torch.device(requested) if requested else devices.find_accelerator()
    if device.type in ("cpu", "mps"):
        return torch.device("cpu")
    count = devices.count_devices(device.type)
    if not count:
        raise gpu_support.make_missing_device_error(requested)
    if local_processes > count:
        raise UserError(
            f"{local_processes} processes on this machine, and torch finds {format_quantity(count, 'GPU')}",
            "use at most one process per GPU, or --device cpu",
        )
    return torch.device(device.type)


def choose_kernels(device: torch.device, precision: str, *, deterministic: bool = False) -> None:
    """Choose CUDA's kernels and how they multiply float32. Do nothing on other devices.

    cuDNN tries its kernels on the first batch of each size and keeps the fastest. Two processes may choose different
    kernels, and some of their sums have no fixed order. So on CUDA a resumed training agrees with an uninterrupted one
    up to rounding, not bit for bit, unless it is `deterministic`: then slower kernels with a fixed order are used, and
    torch warns of those that have none.

    With `tf32`, float32 is rounded to 10 bits of mantissa before it is multiplied; with any other precision it is not.
    """
    if device.type != "cuda":
        return
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = not deterministic, deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def resolve_device(accelerator: Accelerator) -> torch.device:
    """Return the device as tensors name it: an accelerator has a number, the CPU has none (Accelerate numbers both).

    Raises UserError if nothing can be put there, such as on a GPU that others hold.
    """
    device_type = accelerator.device.type
    try:
        return torch.zeros((), device=device_type if device_type == "cpu" else accelerator.device).device
    except RuntimeError as error:
        raise devices.explain_first_failure(accelerator.device, error) from error


def threads_per_rank(processes: int) -> int:
    """Return the number of cores for each of `processes` processes on this machine, at least 1."""
    return max(1, hardware.count_cores() // processes)


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed torch on the CPU and on `device`, and the generators of Python and NumPy."""
    seed_torch(seed, device)
    seed_host_generators(seed)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch on the CPU and on `device`.

    torch.manual_seed would do more: for each kind of device that is not in use it keeps the call with a formatted stack
    trace, which takes 0.3 to 0.8 ms each time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


@translated_exchange_errors()
def combine_flags(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Return, for each flag, whether it is set in any process. Waits for all processes if there are several.

    Raises AllRanksError if another process has ended.
    """
    if accelerator.num_processes == 1:
        return list(flags)
    flag_tensor = torch.tensor(flags, dtype=torch.int32, device=resolve_device(accelerator))
    return [count > 0 for count in accelerator.reduce(flag_tensor, "sum").tolist()]


@translated_exchange_errors()
def broadcast_from_main(accelerator: Accelerator, compute: Callable[[], T]) -> T:
    """Call `compute` in the first process and return its result in all of them.

    Raises the UserError that `compute` raises; the other processes raise it as AllRanksError.
    """
    if accelerator.num_processes == 1:
        return compute()
    shared: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            shared[0] = compute()
        except UserError as error:
            shared[1] = error.problem, error.hint
            raise
        finally:
            torch.distributed.broadcast_object_list(shared, 0, device=resolve_device(accelerator))
    else:
        torch.distributed.broadcast_object_list(shared, 0, device=resolve_device(accelerator))
    if shared[1]:
        raise AllRanksError(*shared[1])
    result: T = shared[0]
    return result


def shutdown_process_group(accelerator: Accelerator) -> None:
    """End the work of the processes together; the one that continues alone gets the cores of all."""
    if accelerator.num_processes > 1:
        _CLOSED_GROUPS.append(torch.distributed.group.WORLD)
        torch.distributed.destroy_process_group()
        omp_threads = os.environ.get("OMP_NUM_THREADS", "")
        torch.set_num_threads(
            min(threads_per_rank(1), int(omp_threads))
            if omp_threads.isdecimal() and int(omp_threads)
            else threads_per_rank(1)
        )


def average_over_ranks(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Return the mean over the processes, the same bits on each."""
    averaged: Tensor = accelerator.reduce(values, "mean") if accelerator.num_processes > 1 else values
    return averaged


def sum_over_ranks(accelerator: Accelerator, value: float) -> float:
    """Return the sum of a number over the processes, added in float64 if there are several."""
    if accelerator.num_processes == 1:
        return value
    number = torch.tensor(value, dtype=torch.float64, device=resolve_device(accelerator))
    return float(accelerator.reduce(number, "sum"))


@torch.no_grad()
def broadcast_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the first one's buffers (running statistics), as DDP does before each forward pass."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
