"""Training: a generator of Epoch records, the evaluation of a split, and what they stand on (the layer needs torch)."""

from attncli.train.evaluation import evaluate_split
from attncli.train.job import check_trainable
from attncli.train.loop import train_model
from attncli.train.malloc import tune_malloc
from attncli.train.precision import autocast_context, resolve_precision
from attncli.train.process import AllRanksError, combine_flags, shutdown_process_group, init_accelerator
from attncli.train.profiling import profile_training
from attncli.train.progress import ProgressListener, TrainingProgress
from attncli.train.stop import Interrupted

__all__ = [
    "AllRanksError",
    "Interrupted",
    "ProgressListener",
    "TrainingProgress",
    "combine_flags",
    "autocast_context",
    "check_trainable",
    "evaluate_split",
    "shutdown_process_group",
    "profile_training",
    "resolve_precision",
    "init_accelerator",
    "train_model",
    "tune_malloc",
]
