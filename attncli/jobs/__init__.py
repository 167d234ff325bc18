"""The runs of a sweep, several at a time: planned, assigned, watched, and resumed after any failure.

    plan ──> tasks ──> executor (a generator of events) ──> the listeners: a table, MLflow's parent run

An executor gets a source of tasks and yields events; `local` does them in processes on this machine, which start while
the source opens the parent runs. All state is in runs/<digest>/, and a lock there protects each run, so any number of
sweeps may work on the same runs at once. The parent process needs no torch.

Speed is measured before any training, one network at a time with all cores of the machine: the speeds of
trainings that run at once would depend on each other more than on the mechanism. With several GPUs of one kind
there is one at a time on each, with its share of the cores. Two sweeps on one machine take turns at timing. One may
still time while the other trains; the spread of the timings then shows it.
"""

from attncli.jobs.events import (
    JobsChanged,
    Task,
    TaskEnded,
    TaskEvent,
    TaskProgress,
    TaskStage,
    TaskStarted,
    TaskWaiting,
    TaskWarning,
)
from attncli.jobs.execute import Executor, execute_plan
from attncli.jobs.plan import PlannedRun, SweepPlan, plan_sweep

__all__ = [
    "Executor",
    "JobsChanged",
    "PlannedRun",
    "SweepPlan",
    "Task",
    "TaskEnded",
    "TaskEvent",
    "TaskProgress",
    "TaskStage",
    "TaskStarted",
    "TaskWaiting",
    "TaskWarning",
    "execute_plan",
    "plan_sweep",
]
