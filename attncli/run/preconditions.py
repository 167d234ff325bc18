"""What is checked before a run trains: whether it can be done, and what the user should hear about it first."""

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from attncli import attention, track, train
from attncli.attention.plugin_errors import plugin_errors
from attncli.backbones.compatibility import describe_large_images
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.measure import training_needs
from attncli.measure.cost import count_once
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.run.hidden_parameters import list_hidden_parameter_warnings
from attncli.run.naming import make_input_spec
from attncli.system import hardware
from attncli.system.launcher import read_process_rank
from attncli.system.other_work import CpuReading, count_cores_used_by_others
from attncli.track import RunStore
from attncli.track.provenance import label_mechanism
from attncli.train.precision import has_native_bf16

LEAST_WATCHED_S = 0.5  # shorter readings of what other programs use say little
SPARE_CORES = 0.5  # what other programs may use of the cores that the threads need


def check_preconditions(recipe: Recipe, accelerator: Accelerator, run_store: RunStore, profile: bool) -> None:
    """Check in seconds that the run can be done. Raises UserError if it cannot."""
    track.check_reachable(run_store)
    train.check_trainable(recipe, accelerator)
    if profile and accelerator.num_processes > 1:
        raise UserError("--profile needs a run with one process", "leave out --processes")


def list_warnings(
    recipe: Recipe,
    net: nn.Module,
    dataset: Dataset,
    accelerator: Accelerator,
    cache_folder: Path,
    cpu_reading: CpuReading,
) -> list[str]:
    """Return what a user should hear about a run before it trains. Raises UserError if the memory cannot do.

    Args:
        recipe: of the run.
        net: its network.
        dataset: its images.
        accelerator: the run's processes.
        cache_folder: keeps counts of networks.
        cpu_reading: taken when the run began, to see what other programs have used since.
    """
    return [
        *dataset.warnings,
        *_check_needs(recipe, net, dataset, accelerator, cache_folder),
        *_list_size_warnings(recipe, dataset),
        *list_few_image_warnings(recipe, len(dataset.train)),
        *_list_schedule_warnings(recipe, net),
        *_list_loss_warnings(recipe, net),
        *list_hidden_parameter_warnings(net),
        *_list_busy_core_warnings(accelerator, cpu_reading),
    ]


def _check_needs(
    recipe: Recipe, net: nn.Module, dataset: Dataset, accelerator: Accelerator, cache_folder: Path
) -> list[str]:
    """Return warnings about the memory and the time of a training. Raises UserError if the memory cannot do."""
    spec, device = make_input_spec(dataset), train.resolve_device(accelerator)
    try:
        counts = count_once(recipe, spec, lambda: net, cache_folder)
    except Exception:  # a mechanism that fails is reported by the training, with its file and line
        return []
    precision = train.resolve_precision(recipe.train.precision, device)
    shared = read_process_rank().local_processes if device.type == "cpu" else 1
    processes = accelerator.num_processes
    needs = training_needs.estimate_memory(recipe, counts, len(dataset.train), precision, processes, shared)
    warnings = [
        training_needs.check_memory(
            recipe,
            needs,
            training_needs.read_free_bytes(device),
            spec.size,
            has_bf16=has_native_bf16(device),
        )
    ]
    if device.type == "cpu" and processes == 1:
        warnings.append(training_needs.check_duration(recipe, net, counts, spec, len(dataset.train)))
    return [warning for warning in warnings if warning]


def _list_size_warnings(recipe: Recipe, dataset: Dataset) -> list[str]:
    """Return a line if the backbone is made for much smaller images."""
    is_whole = attention.is_whole_network(recipe.model.attn)
    line = None if is_whole else describe_large_images(recipe.model.backbone, dataset.size)
    return [line] if line else []


def list_few_image_warnings(recipe: Recipe, image_count: int) -> list[str]:
    """Return a line if the training images do not fill one batch; it names the key that leaves so few, if one does."""
    batch_size = recipe.train.batch_size
    if image_count >= batch_size:
        return []
    values = {"data.fraction": recipe.data.fraction, "data.per_class": recipe.data.per_class}
    cause = "".join(f"{key}={value} leaves " for key, value in values.items() if value is not None)
    images = format_quantity(image_count, "training image")
    return [f"{cause}{images}, fewer than a batch (train.batch_size={batch_size}): an epoch is one step"]


def _list_schedule_warnings(recipe: Recipe, net: nn.Module) -> list[str]:
    """Return a line if the training is shorter than a schedule of the mechanism, and one for the learning rate."""
    with plugin_errors(recipe.model.attn, "fails in training", code=1):
        is_short = train.is_annealing_at_end(net, recipe.train.epochs)
    mechanism = label_mechanism(recipe)
    line = f"train.epochs={recipe.train.epochs}: the schedule of {mechanism} takes more epochs and is cut off"
    late_steps = train.describe_late_steps(recipe.train)
    return [text for text in (line if is_short else "", late_steps) if text]


def _list_loss_warnings(recipe: Recipe, net: nn.Module) -> list[str]:
    """Return a line if the mechanism has its own loss, which does not smooth labels as the recipe says."""
    smoothing = recipe.train.label_smoothing
    if not smoothing or not train.find_own_loss(net, recipe.model.attn):
        return []
    return [f"train.label_smoothing={smoothing}: {label_mechanism(recipe)} has its own loss, which does not use it"]


def _list_busy_core_warnings(accelerator: Accelerator, cpu_reading: CpuReading) -> list[str]:
    """Return a line if the threads of this process must wait for other programs."""
    if train.resolve_device(accelerator).type != "cpu" or accelerator.num_processes > 1:
        return []
    busy_cores = count_cores_used_by_others(cpu_reading, least_seconds=LEAST_WATCHED_S)
    line = describe_busy_cores(busy_cores, hardware.count_cores(), torch.get_num_threads())
    return [line] if line else []


def describe_busy_cores(busy_cores: float, cores: int, threads: int) -> str:
    """Return a line if fewer threads may be faster, as others keep cores busy, or an empty text.

    A step waits for its slowest thread, so with as many threads as cores, one busy core makes every step slow.
    """
    fitting_threads = max(1, round(cores - busy_cores))
    if fitting_threads >= threads or threads <= cores - busy_cores + SPARE_CORES:
        return ""
    return (
        f"other programs keep {busy_cores:.1f} of {format_quantity(cores, 'core')} busy, and each step waits for the "
        f"slowest of its {threads} threads: OMP_NUM_THREADS={fitting_threads} may be faster"
    )


def describe_steps(recipe: Recipe, net: nn.Module, accelerator: Accelerator) -> str:
    """Return a line if the recipe wants a CUDA graph where it can be, and it cannot."""
    device = train.resolve_device(accelerator)
    precision = train.resolve_precision(recipe.train.precision, device)
    return train.describe_usual_steps(recipe, net, device, precision, accelerator.num_processes)
