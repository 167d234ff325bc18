"""The runs of a sweep, several at a time: planned, handed out, watched, and gone on with after any failure.

    plan ──> tasks ──> executor (a generator of events) ──> whoever listens: a table, MLflow's parent run

An executor takes tasks and yields events; `local` has processes on this machine do them. All state is in
runs/<digest>/, and a run is held by a lock there, so any number of sweeps may work on the same runs at once.
The parent of the processes needs no torch.

Speed is measured before anything is trained, one network at a time with all cores of the machine: the figures of
several trainings at once would say more about the neighbours than about the mechanism. Two sweeps on one machine
take turns at timing; that one times while the other trains is not prevented, and shows in the spread.
"""

from attncli.jobs.events import (
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
