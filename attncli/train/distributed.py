"""The processes of a run: one, or several that `torchrun` started, each with its device and its share of the cores."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.errors import RunFailedError, UserError
from attncli.system import hardware
from attncli.train.malloc import tune_malloc

T = TypeVar("T")


class AllRanksError(RunFailedError):
    """A failure that all processes of a run see alike, so only the first one reports it."""

    on_all_ranks = True


def make_peer_lost_error() -> AllRanksError:
    """Return the error that the other processes of a run raise if one ended early."""
    return AllRanksError("another process of this run has ended", "the same command resumes from the last checkpoint")


def init_accelerator() -> Accelerator:
    """Return an Accelerator for the processes and the device; set up memory allocation and threads for them.

    It handles no number formats and no trackers: this project does both itself.
    Raises UserError if fewer processes found each other than the launcher announced.
    """
    tune_malloc()
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no", log_with=None)
    announced_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != announced_processes:
        raise UserError(
            f"WORLD_SIZE is {announced_processes}, yet this process is one of {accelerator.num_processes}",
            "start with `torchrun --nproc-per-node N -m attncli ...`, or unset WORLD_SIZE",
        )
    choose_kernels(accelerator.device)
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", announced_processes))
    if (
        local_processes > 1
    ):  # a launcher has set OMP_NUM_THREADS to 1 for them; for one process torch's own choice stays
        torch.set_num_threads(threads_per_rank(local_processes))
    return accelerator


def choose_kernels(device: torch.device) -> None:
    """Let cuDNN try its kernels on the first batch of each size and keep the fastest. Do nothing on other devices.

    Two processes may choose different kernels, and cuDNN's sums have no fixed order anyway. So on CUDA a resumed
    training agrees with an uninterrupted one up to rounding, not bit for bit.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def resolve_device(accelerator: Accelerator) -> torch.device:
    """Return the device as tensors name it: an accelerator has a number, the CPU has none (Accelerate numbers both)."""
    device_type = accelerator.device.type
    return torch.zeros((), device=device_type if device_type == "cpu" else accelerator.device).device


def threads_per_rank(processes: int) -> int:
    """Return the number of cores for each of `processes` processes on this machine, at least 1."""
    return max(1, hardware.count_cores() // processes)


def seed_everything(seed: int, device: torch.device) -> None:
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


def combine_flags(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Return, for each flag, whether it is set in any process. Waits for all processes if there are several."""
    if accelerator.num_processes == 1:
        return list(flags)
    flag_tensor = torch.tensor(flags, dtype=torch.int32, device=resolve_device(accelerator))
    return [count > 0 for count in accelerator.reduce(flag_tensor, "sum").tolist()]


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
        torch.distributed.destroy_process_group()
        omp_threads = os.environ.get("OMP_NUM_THREADS", "")
        torch.set_num_threads(
            min(threads_per_rank(1), int(omp_threads))
            if omp_threads.isdigit() and int(omp_threads)
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
