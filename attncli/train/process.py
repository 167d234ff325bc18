"""The processes of a run: one, or several that `torchrun` started, each with its device and its share of the cores."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import psutil
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.errors import RunFailedError, UserError
from attncli.train.malloc import tune_malloc

T = TypeVar("T")


class CommonError(RunFailedError):
    """A failure that all processes of a run see alike, so that the first one alone has to tell it."""

    common = True


def lost() -> CommonError:
    """What the other processes of a run see of one that ended in the middle of it."""
    return CommonError("another process of this run has ended", "the same command goes on from the last checkpoint")


def start() -> Accelerator:
    """Accelerate's view of the processes and the device; memory and threads are set as suits them.

    Number formats and trackers are left out of it on purpose: this project does both itself.
    Raises UserError where a launcher announced more processes than found each other.
    """
    tune_malloc()
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no", log_with=None)
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != announced:
        raise UserError(
            f"WORLD_SIZE is {announced}, yet this process is one of {accelerator.num_processes}",
            "start with `torchrun --nproc-per-node N -m attncli ...`, or unset WORLD_SIZE",
        )
    choose_kernels(accelerator.device)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", announced))
    if here > 1:  # a launcher has set OMP_NUM_THREADS to 1 for them; where it starts one, torch's own choice holds
        torch.set_num_threads(threads(here))
    return accelerator


def choose_kernels(on: torch.device) -> None:
    """Let cuDNN try its kernels on the first batch of a size and keep the fastest (nothing on other devices).

    Two processes may choose differently, and cuDNN's own sums are not of one order anyway: on CUDA a resumed
    training agrees with an undisturbed one to rounding, not to the bit.
    """
    if on.type == "cuda":
        torch.backends.cudnn.benchmark = True


def device(accelerator: Accelerator) -> torch.device:
    """The device as tensors name it: an accelerator with its number, the host without one (Accelerate numbers both)."""
    kind = accelerator.device.type
    return torch.zeros((), device=kind if kind == "cpu" else accelerator.device).device


def threads(processes: int) -> int:
    """Cores for each of `processes` processes on this machine, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed) // processes)


def seed_everything(seed: int, on: torch.device) -> None:
    """Seed torch on the host and on the device `on` (torch.manual_seed queues, slowly, for devices not in use too)."""
    if on.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def agree(accelerator: Accelerator, *wishes: bool) -> list[bool]:
    """What any of the processes wishes for; waits for all of them where there are several."""
    if accelerator.num_processes == 1:
        return list(wishes)
    flags = torch.tensor(wishes, dtype=torch.int32, device=device(accelerator))
    return [f > 0 for f in accelerator.reduce(flags, "sum").tolist()]


def share(accelerator: Accelerator, make: Callable[[], T]) -> T:
    """What `make` gives in the first process, in all of them; so is a UserError that it raises (there CommonError)."""
    if accelerator.num_processes == 1:
        return make()
    found: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            found[0] = make()
        except UserError as error:
            found[1] = error.problem, error.hint
            raise
        finally:
            torch.distributed.broadcast_object_list(found, 0, device=device(accelerator))
    else:
        torch.distributed.broadcast_object_list(found, 0, device=device(accelerator))
    if found[1]:
        raise CommonError(*found[1])
    value: T = found[0]
    return value


def part(accelerator: Accelerator) -> None:
    """The processes have nothing more to do together; the one that goes on alone gets the cores of all."""
    if accelerator.num_processes > 1:
        torch.distributed.destroy_process_group()
        asked = os.environ.get("OMP_NUM_THREADS", "")
        torch.set_num_threads(min(threads(1), int(asked)) if asked.isdigit() and int(asked) else threads(1))


def mean(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The mean over the processes, the same bits on each."""
    averaged: Tensor = accelerator.reduce(values, "mean") if accelerator.num_processes > 1 else values
    return averaged


@torch.no_grad()
def share_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Give every process the first one's buffers (running statistics), as DDP does before each forward pass."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
