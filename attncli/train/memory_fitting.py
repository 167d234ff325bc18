"""Do work with a batch that is halved until it fits into the memory of the device."""

from collections.abc import Callable
from typing import TypeVar

import torch

from attncli.train.errors import empty_device_cache, is_out_of_memory

T = TypeVar("T")


def fit_batch_to_memory(
    work: Callable[[int], T], batch: int, device: torch.device, *, is_fixed: bool = False
) -> T | None:
    """Return `work(batch)`, with the batch halved while memory runs out; None if not even one image fits.

    A batch that is fixed is tried alone.
    """
    while batch:
        try:
            return work(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        empty_device_cache(device)
        batch = 0 if is_fixed else batch // 2
    return None
