"""Training: a generator of Epoch records, the evaluation of a split, and what they stand on (the layer needs torch)."""

from attncli.train.evaluation import evaluate
from attncli.train.job import check
from attncli.train.loop import train
from attncli.train.malloc import tune_malloc
from attncli.train.precision import autocast, resolve_precision
from attncli.train.process import CommonError, agree, part, start
from attncli.train.profiling import profile
from attncli.train.progress import Progress, Step
from attncli.train.stop import Interrupted

__all__ = [
    "CommonError",
    "Interrupted",
    "Progress",
    "Step",
    "agree",
    "autocast",
    "check",
    "evaluate",
    "part",
    "profile",
    "resolve_precision",
    "start",
    "train",
    "tune_malloc",
]
