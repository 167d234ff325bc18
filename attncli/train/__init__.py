"""Training: a generator of Epoch records, the evaluation of a split, and what they stand on (the layer needs torch)."""

from attncli.errors import Interrupted
from attncli.train.annealing import is_annealing_at_end
from attncli.train.device import choose_device, list_device_notes
from attncli.train.distributed import (
    combine_flags,
    init_accelerator,
    resolve_device,
    shutdown_process_group,
)
from attncli.train.evaluation import evaluate_split, predict_split
from attncli.train.exchange_errors import AllRanksError
from attncli.train.loop import train_model
from attncli.train.loss import find_own_loss
from attncli.train.lr_schedule import describe_late_steps
from attncli.train.malloc import tune_malloc
from attncli.train.precision import autocast_context, resolve_precision
from attncli.train.profiling import profile_training
from attncli.train.progress import ProgressListener, TrainingProgress
from attncli.train.session import check_network, check_trainable
from attncli.train.step_graph import describe_usual_steps

__all__ = [
    "AllRanksError",
    "Interrupted",
    "ProgressListener",
    "TrainingProgress",
    "autocast_context",
    "check_network",
    "check_trainable",
    "choose_device",
    "combine_flags",
    "describe_late_steps",
    "describe_usual_steps",
    "evaluate_split",
    "find_own_loss",
    "init_accelerator",
    "is_annealing_at_end",
    "list_device_notes",
    "predict_split",
    "profile_training",
    "resolve_device",
    "resolve_precision",
    "shutdown_process_group",
    "train_model",
    "tune_malloc",
]
