"""How many runs share a GPU with `--jobs auto`: the first run is watched, and as many more start as it leaves room for.

While it trains, nvidia-smi says now and then for how much of the time the GPU computed anything, and how much memory is
taken. The runs on one GPU are then as many as bring that time to `FULL` together, as fit into the memory, and as have a
core each, at most `MOST_JOBS`. No torch.
"""

import time
from collections.abc import Callable
from statistics import mean, median

from attncli.jobs import resources
from attncli.system import hardware
from attncli.system.hardware import GpuUse

SAMPLES, SAMPLE_S = 5, 2.0  # how often a GPU is looked at, and how many seconds apart
FULL = 0.9  # share of the time that a GPU may compute; beyond, runs only slow each other down
MEMORY_SHARE = 0.9  # of a GPU's memory that runs may take
MOST_JOBS = 8  # per GPU
ROUNDING = 1e-9  # 0.9 / 0.3 is 3, and a float just below it


def choose_jobs_per_gpu(samples: list[GpuUse], cores: int, gpus: int) -> tuple[int, str]:
    """Return how many runs like the one that was watched share a GPU, and what decided it.

    Args:
        samples: what was seen while one run trained on each GPU.
        cores: of this machine.
        gpus: in use.
    """
    busy = median(sample.busy for sample in samples)
    memory = max(sample.used_bytes / sample.total_bytes for sample in samples)
    limits = {
        f"it computed {busy:.0%} of the time": int(FULL / max(busy, 0.01) + ROUNDING),
        f"a run took {memory:.0%} of its memory": int(MEMORY_SHARE / max(memory, 0.01) + ROUNDING),
        f"{cores} cores": cores // gpus,
        f"at most {MOST_JOBS}": MOST_JOBS,
    }
    reason = min(limits, key=limits.__getitem__)
    return max(1, limits[reason]), reason


class GpuWatch:
    """Looks at the GPUs while the first runs train, and decides once how many share one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._samples: list[GpuUse] = []
        self._is_decided = False

    def look(self) -> tuple[int, str] | None:
        """Look at the GPUs if it is time. Return the number of jobs in all and the reason, once; else None.

        Call it while each GPU trains one run. If nvidia-smi does not say how busy the GPUs are (as of divided ones),
        there is one run per GPU.
        """
        if self._is_decided or self._clock() - self._looked_at < SAMPLE_S:
            return None
        self._looked_at = self._clock()
        gpus = resources.list_gpus()
        uses = hardware.read_gpu_use(gpus) if gpus else ()
        if not uses:
            self._is_decided = True
            return max(1, len(gpus)), "nvidia-smi does not say how busy it is"
        self._samples.append(
            GpuUse(
                busy=mean(use.busy for use in uses),
                used_bytes=max(use.used_bytes for use in uses),
                total_bytes=min(use.total_bytes for use in uses),
            )
        )
        if len(self._samples) < SAMPLES:
            return None
        self._is_decided = True
        jobs, reason = choose_jobs_per_gpu(self._samples, hardware.count_cores(), len(gpus))
        return jobs * len(gpus), reason
