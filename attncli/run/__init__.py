"""One run, from a recipe to a result (`story`), with what it is called (`describe`) and its folder (`folder`)."""

from attncli.run.describe import backbone, facts, shape, title
from attncli.run.folder import OccupiedError, occupied
from attncli.run.story import Decorate, Job, Load, overhead, run
from attncli.run.watch import Watch

__all__ = [
    "Decorate",
    "Job",
    "Load",
    "OccupiedError",
    "Watch",
    "backbone",
    "facts",
    "occupied",
    "overhead",
    "run",
    "shape",
    "title",
]
