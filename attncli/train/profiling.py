"""Where the time of a training step goes: data, forward, backward, optimiser, other; and a trace of a few steps.

The table is timed without the profiler, which slows what it looks at; on an accelerator the device is waited for
between the phases. The trace is taken afterwards. All of it on a copy of the network: the training is not touched.
"""

import copy
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, record_function

from attncli.data.dataset import Dataset
from attncli.recipe import Recipe
from attncli.train.job import Job, prepare
from attncli.train.loop import batches, step

PHASES = ("data", "forward", "backward", "optimiser", "other")
WARM, TIMED, TRACED = 3, 10, 3  # steps
FOLDER, TRACE, TABLE = "profile", "trace.json.gz", "table.txt"
OPERATIONS = 15  # shown


@dataclass
class Phases:
    """A stop-watch that is always in one phase."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    phase: str = "other"
    began: float = field(default_factory=time.perf_counter)
    mark: Any = None  # the phase in the trace

    def enter(self, phase: str) -> None:
        """The phase so far is over, another begins."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self.phase] += now - self.began
        self.phase, self.began = phase, now
        if self.mark is not None:
            self.mark.__exit__(None, None, None)
        self.mark = record_function(f"# {phase}")
        self.mark.__enter__()

    def close(self) -> None:
        """End the last phase."""
        self.enter("other")
        self.mark.__exit__(None, None, None)
        self.mark = None


def profile(
    model: nn.Module, dataset: Dataset, recipe: Recipe, run: Path, accelerator: Accelerator, *, timed: int = TIMED
) -> str:
    """Profile a few steps as `train` would take them; the table, which is also in `run`/profile beside the trace.

    A fresh copy of `model` (N, 3, H, W) -> (N, classes) is trained on the first batches of the first epoch.
    """
    job = prepare(copy.deepcopy(model), dataset, recipe, None, None, accelerator)
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    watch(job, WARM)
    phases = watch(job, timed)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it tells at length that there is no GPU
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (job.device.type == "cuda")
    with torch.profiler.profile(activities=activities) as trace:
        watch(job, TRACED)
    trace.export_chrome_trace(str(folder / TRACE))
    by = f"self_{'cuda' if job.device.type == 'cuda' else 'cpu'}_time_total"
    told = table(phases.seconds, timed, job.images)
    operations = trace.key_averages().table(sort_by=by, row_limit=OPERATIONS, max_name_column_width=50)
    (folder / TABLE).write_text(f"{told}\n\n{TRACED} steps with the profiler, by operation:\n{operations}\n")
    return f"{told}\n  operations and trace: {folder / TABLE}, {TRACE} (for https://ui.perfetto.dev)"


def watch(job: Job, steps: int) -> Phases:
    """Train `steps` steps and tell what they took."""
    feed = endless(job)
    phases = Phases(job.device)
    with observed(job, phases):
        for _ in range(steps):
            phases.enter("data")
            images, labels = next(feed)
            phases.enter("other")
            step(job, images, labels)
            phases.enter("other")
    phases.close()
    return phases


def endless(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of the first epoch, again and again."""
    while True:
        job.state.step = 0
        yield from islice(batches(job), job.steps)


@contextmanager
def observed(job: Job, phases: Phases) -> Iterator[None]:
    """Hooks on loss and optimiser that enter the phases (clipping counts as backward)."""
    optimizer = job.state.optimizer
    hooks = [
        job.objective.register_forward_pre_hook(lambda *_: phases.enter("forward")),
        job.objective.register_forward_hook(lambda *_: phases.enter("backward")),
        optimizer.register_step_pre_hook(lambda *_: phases.enter("optimiser")),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def table(seconds: dict[str, float], steps: int, images: int) -> str:
    """Milliseconds of a step and share of the whole, by phase; `images` are those of a step."""
    whole = sum(seconds.values())
    lines = [f"{steps} steps of {images} images, {images * steps / whole:,.0f} images/s"]
    lines += [f"  {name:10} {1000 * s / steps:9.2f} ms  {s / whole:6.1%}" for name, s in seconds.items()]
    return "\n".join(lines)
