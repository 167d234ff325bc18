"""What training asks of an Accelerator, for a process without others; without pytest, as `gpu_check` needs none."""

import torch
from torch import Tensor


class SimulatedProcess:
    """One process, or one of several, on a device of this kind."""

    is_main_process = True

    def __init__(self, kind: str, world: int = 1, rank: int = 0) -> None:
        self.device = torch.device(kind, 0)
        self.num_processes, self.process_index = world, rank

    def reduce(self, values: Tensor, reduction: str = "sum") -> Tensor:
        """Return a copy, as for one process."""
        return values.clone()

    def wait_for_everyone(self) -> None:
        """Return at once."""
