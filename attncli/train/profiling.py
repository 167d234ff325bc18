"""Profile training steps: time for data, forward, backward, optimiser and other, and a trace of a few steps.

The table is timed without the profiler, which would slow the steps; on an accelerator the device is waited for
between the phases. The trace is taken afterwards. All of it uses a copy of the network: the training is unchanged.
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
from attncli.system.files import write_atomically
from attncli.train.loop import iterate_batches, run_step
from attncli.train.session import TrainingSession, prepare_session

PHASES = ("data", "forward", "backward", "optimiser", "other")
WARMUP_STEPS, TIMED_STEPS, TRACED_STEPS = 3, 10, 3  # steps
FOLDER, TRACE, TABLE = "profile", "trace.json.gz", "table.txt"
SHOWN_OPERATIONS = 15  # in the table of the trace, those that take longest


@dataclass
class PhaseTimer:
    """A stop-watch that is always in one phase."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    phase: str = "other"
    phase_started_at: float = field(default_factory=time.perf_counter)
    trace_mark: Any = None  # the phase in the trace

    def enter_phase(self, phase: str) -> None:
        """End the current phase and begin another."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[self.phase] += now - self.phase_started_at
        self.phase, self.phase_started_at = phase, now
        if self.trace_mark is not None:
            self.trace_mark.__exit__(None, None, None)
        self.trace_mark = record_function(f"# {phase}")
        self.trace_mark.__enter__()

    def close(self) -> None:
        """End the last phase."""
        self.enter_phase("other")
        self.trace_mark.__exit__(None, None, None)
        self.trace_mark = None


def profile_training(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    run_dir: Path,
    accelerator: Accelerator,
    *,
    timed_steps: int = TIMED_STEPS,
) -> str:
    """Profile a few training steps. Return the table, which is also written to `run_dir`/profile beside the trace.

    A fresh copy of `model` (N, 3, H, W) -> (N, classes) is trained on the first batches of the first epoch.
    """
    uncaptured = recipe.model_copy(update={"train": recipe.train.model_copy(update={"graph": False})})
    session = prepare_session(copy.deepcopy(model), dataset, uncaptured, None, None, accelerator)
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    time_steps(session, WARMUP_STEPS)
    timer = time_steps(session, timed_steps)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it warns at length that there is no GPU
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (session.device.type == "cuda")
    with torch.profiler.profile(activities=activities) as trace:
        time_steps(session, TRACED_STEPS)
    trace.export_chrome_trace(str(folder / TRACE))
    sort_key = f"self_{'cuda' if session.device.type == 'cuda' else 'cpu'}_time_total"
    table_text = format_phase_table(timer.seconds, timed_steps, session.step_images)
    operations = trace.key_averages().table(sort_by=sort_key, row_limit=SHOWN_OPERATIONS, max_name_column_width=50)
    write_atomically(
        folder / TABLE, f"{table_text}\n\n{TRACED_STEPS} steps with the profiler, by operation:\n{operations}\n"
    )
    return f"{table_text}\n  operations and trace: {folder / TABLE}, {TRACE} (for https://ui.perfetto.dev)"


def time_steps(session: TrainingSession, steps: int) -> PhaseTimer:
    """Train `steps` steps and return the timer with their phases."""
    batches = repeat_first_epoch(session)
    timer = PhaseTimer(session.device)
    with timed_phases(session, timer):
        for _ in range(steps):
            timer.enter_phase("data")
            images, labels = next(batches)
            timer.enter_phase("other")
            run_step(session, images, labels)
            timer.enter_phase("other")
    timer.close()
    return timer


def repeat_first_epoch(session: TrainingSession) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the first epoch, again and again."""
    while True:
        session.state.step = 0
        yield from islice(iterate_batches(session), session.epoch_steps)


@contextmanager
def timed_phases(session: TrainingSession, timer: PhaseTimer) -> Iterator[None]:
    """Install hooks on loss and optimiser that enter the phases (clipping counts as backward)."""
    optimizer = session.state.optimizer
    hooks = [
        session.step.objective.register_forward_pre_hook(lambda *_: timer.enter_phase("forward")),
        session.step.objective.register_forward_hook(lambda *_: timer.enter_phase("backward")),
        optimizer.register_step_pre_hook(lambda *_: timer.enter_phase("optimiser")),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def format_phase_table(seconds: dict[str, float], steps: int, step_images: int) -> str:
    """Return a table with the milliseconds per step and the share of each phase; `step_images` are images per step."""
    total_seconds = sum(seconds.values())
    lines = [f"{steps} steps of {step_images} images, {step_images * steps / total_seconds:,.0f} images/s"]
    lines += [f"  {name:10} {1000 * s / steps:9.2f} ms  {s / total_seconds:6.1%}" for name, s in seconds.items()]
    return "\n".join(lines)
