"""The stages of one run, once its data, network and records are there: train, evaluate, measure, result."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from attncli import model, records, train
from attncli.attention.plugin_errors import plugin_errors
from attncli.data.dataset import Dataset
from attncli.data.loader import count_left_over
from attncli.errors import UserError
from attncli.measure import environment
from attncli.measure.cost import count_recipe_cost
from attncli.measure.throughput import UntimedError, cached_throughput
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.recipe.image_size import format_image_size
from attncli.recipe.run_weights import CHECKPOINT_STATE
from attncli.records import PLAN_TAG, Cost, Epoch, Evaluation, Record, Result, Speed
from attncli.run.identity import RunIdentity, describe_named_files, has_changed_files
from attncli.run.listener import RunListener
from attncli.run.naming import format_run_title, make_input_spec, name_baseline
from attncli.system.files import write_atomically
from attncli.system.launcher import read_process_rank
from attncli.track import ActiveRun
from attncli.track.predictions import write_predictions
from attncli.track.provenance import label_mechanism


@dataclass(frozen=True)
class RunContext:
    """A run's recipe, identity, folder, data and network, with its listener."""

    recipe: Recipe
    identity: RunIdentity
    folder: Path
    dataset: Dataset
    net: nn.Module
    accelerator: Accelerator
    active_run: ActiveRun
    listener: RunListener
    tags: Mapping[str, str]  # the run's own facts and those of its sweep
    timing_threads: int | None = None  # the number with which the speed was timed, if that was done before
    profile: bool = False

    def log_record(self, record: Record) -> None:
        """Write a record to disk, send it to MLflow and to the listener."""
        records.append_record(self.folder, record)
        self.active_run.log_record(record)
        self.listener.on_record(record)


def train_and_measure(context: RunContext, started_at: float, fresh: bool) -> Result:
    """Train, evaluate and measure; the result is on disk before this returns.

    Args:
        context: The run.
        started_at: `time.monotonic()` when its work began, from which the seconds of the result count.
        fresh: Whether to start again; otherwise the training resumes from its checkpoint, if there is one.
    """
    recipe, dataset, accelerator = context.recipe, context.dataset, context.accelerator
    build_baseline = partial(model.build, recipe.make_baseline(), make_input_spec(dataset))
    cost_before = _count_cost(context, build_baseline)  # as the files may be edited while it trains
    context.listener.on_stage(_describe_training_images(context.dataset), format_run_title(recipe))
    for line in _describe_training(context, fresh):
        context.listener.on_stage(line)
    if context.profile:
        context.listener.on_stage(train.profile_training(context.net, dataset, recipe, context.folder, accelerator))
    epochs, earlier_seconds = _train_epochs(context, fresh)
    test, predicted = train.predict_split(
        context.net, dataset.test, dataset, recipe, name="test", accelerator=accelerator
    )
    write_predictions(
        context.folder, predicted.numpy(), dataset.test.labels.cpu().numpy(), classes=len(dataset.classes)
    )
    train.shutdown_process_group(accelerator)
    context.log_record(test)
    _warn_of_nonfinite(context, "test", test.count_nonfinite())
    context.listener.on_stage("measuring the overhead against the plain network")
    has_changed = _warn_of_changed_files(context)
    build_once = cache(build_baseline)
    cost = cost_before if has_changed else _count_cost(context, build_once)
    context.log_record(cost)

    def write_result(speed: Speed | None) -> Result:
        seconds = time.monotonic() - started_at + earlier_seconds
        result = _build_result(context, epochs, test, cost, speed, seconds)
        write_atomically(context.folder / records.RESULT, json.dumps(asdict(result), indent=2) + "\n")
        return result

    result = write_result(None)  # before the timing, which may fail for want of memory
    speed = _measure_speed(context, build_once) if recipe.measure.speed and not has_changed else None
    return write_result(speed) if speed else result


def _count_cost(context: RunContext, build_baseline: Callable[[], nn.Module]) -> Cost:
    """Return the cost of the network; the plain one is built if it was not counted before."""
    recipe, input_spec = context.recipe, make_input_spec(context.dataset)
    with plugin_errors(recipe.model.attn, "fails in training", code=1):
        return count_recipe_cost(recipe, input_spec, context.net, build_baseline, context.folder.parent / "cache")


def _warn_of_changed_files(context: RunContext) -> bool:
    """Return whether a file that the recipe names has changed while the run trained, with a warning if so."""
    if not has_changed_files(context.recipe, context.identity.digest):
        return False
    files = describe_named_files(context.recipe)
    what = "the result is of its content at the start, and has no speed"
    context.listener.on_warning(f"{files} has changed while the run trained: {what}")
    return True


def _describe_training_images(dataset: Dataset) -> str:
    """Return how many images a run is trained with, and of which size."""
    return f"{format_quantity(len(dataset.train), 'training image')} of {format_image_size(dataset.size)} px"


def _describe_training(context: RunContext, fresh: bool) -> Iterator[str]:
    """Yield what else is to be known before the first epoch: what it leaves out, and whether the run resumes."""
    recipe, dataset = context.recipe, context.dataset
    if left_over := count_left_over(dataset.train, recipe.train.batch_size):
        yield f"each epoch leaves out {format_quantity(left_over, 'other image')}: not enough to fill a batch"
    if recipe.train.sampling == "balanced":
        yield _describe_balance(dataset)
    if (context.folder / CHECKPOINT_STATE).exists() and not fresh:
        yield "resuming from its checkpoint; the epochs done before are shown again:"


def _describe_balance(dataset: Dataset) -> str:
    """Return how often balanced sampling shows the images of the smallest and the largest class."""
    counts = dataset.train.labels.cpu().bincount(minlength=len(dataset.classes))
    share = len(dataset.train) / len(dataset.classes)
    largest, smallest = (
        f"{share / int(counts[i]):.2f} ('{dataset.classes[i]}')" for i in (counts.argmax(), counts.argmin())
    )
    return f"balanced sampling: an epoch shows an image {largest} to {smallest} times on average"


def _train_epochs(context: RunContext, fresh: bool) -> tuple[list[Epoch], float]:
    """Train, and return the epochs and the seconds of training that earlier calls spent on them."""
    epochs, earlier_seconds, epoch_end = [], 0.0, time.monotonic()
    training = train.train_model(
        context.net,
        context.dataset,
        context.recipe,
        folder=context.folder,
        resume=not fresh,
        progress=context.listener.on_step,
        accelerator=context.accelerator,
    )
    with plugin_errors(context.recipe.model.attn, "fails in training", code=1), closing(training):
        for epoch in training:
            epoch_end, previous_end = time.monotonic(), epoch_end
            seconds_here = epoch_end - previous_end  # about none for an epoch that an earlier call trained
            earlier_seconds += max(0.0, epoch.train_seconds - seconds_here)
            epochs.append(epoch)
            context.log_record(epoch)
            _warn_of_nonfinite(context, "validation", epoch.val_nonfinite)
    return epochs, earlier_seconds


def _warn_of_nonfinite(context: RunContext, split: str, images: int) -> None:
    """Warn of images without a finite loss."""
    if images:
        context.listener.on_warning(records.describe_nonfinite(images, f"{split} image"))


def describe_run_machine() -> dict[str, Any]:
    """Describe the machine, with the number of processes if there are several."""
    processes = read_process_rank().processes
    return environment.describe_machine() | ({"processes": processes} if processes > 1 else {})


def _measure_speed(context: RunContext, build_baseline: Callable[[], nn.Module]) -> Speed | None:
    """Return the speed of the network against the recipe's plain one; None, with a warning, if there is none."""
    recipe, input_spec = context.recipe, make_input_spec(context.dataset)
    try:
        speed = cached_throughput(
            recipe,
            context.net,
            build_baseline,
            input_spec.classes,
            input_spec.size,
            input_spec.frames,
            runs=context.folder.parent,
            threads=context.timing_threads,
            processes=context.accelerator.num_processes,
        )
    except UntimedError:
        context.listener.on_warning("no speed: it was not measured before the training")
        return None
    except UserError as error:
        context.listener.on_warning(f"no speed: {error.problem}")
        return None
    context.log_record(speed)
    return speed


def _build_result(
    context: RunContext, epochs: list[Epoch], test: Evaluation, cost: Cost, speed: Speed | None, seconds: float
) -> Result:
    recipe = context.recipe
    val_accuracies = [e.val_top1 for e in epochs if e.val_top1 is not None]
    return Result(
        digest=context.identity.digest,
        run_id=context.active_run.run_id,
        status="FINISHED",
        attn=label_mechanism(recipe),
        backbone=context.identity.network,
        dataset=context.dataset.name,
        category=context.identity.category,
        seed=recipe.seed,
        epochs=len(epochs),
        test_top1=test.top1,
        test_top5=test.informative_top5,
        test_loss=test.loss,
        test_macro_f1=test.compute_macro_f1(),
        val_top1=val_accuracies[-1] if val_accuracies else None,
        best_val_top1=max(val_accuracies, default=None),
        baseline=name_baseline(recipe),
        params=cost.params,
        baseline_params=cost.baseline_params,
        macs=cost.macs,
        baseline_macs=cost.baseline_macs,
        train_images_per_s=speed.train_images_per_s if speed else None,
        infer_images_per_s=speed.infer_images_per_s if speed else None,
        train_ratio=speed.train_ratio if speed else None,
        infer_ratio=speed.infer_ratio if speed else None,
        seconds=seconds,
        precision=context.tags["precision"],
        device=str(next(context.net.parameters()).device),
        machine=describe_run_machine(),
        group=context.identity.group,
        data_digest=context.dataset.digest,
        folder=str(context.folder),
        test_images=test.images,
        test_correct=test.count_correct(),
        planned_seeds=int(context.tags[PLAN_TAG]) if PLAN_TAG in context.tags else None,
        code=context.tags["code"],
        train_limit=speed.train_limit if speed else None,
        infer_limit=speed.infer_limit if speed else None,
        test_nonfinite=test.count_nonfinite(),
    )
