"""The tasks of a worker, a whole run or the timing of a network, and its cache of datasets."""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from attncli import data, model, train
from attncli.attention.plugin_errors import plugin_errors
from attncli.data.dataset import Dataset
from attncli.jobs.resources import name_timing_lock
from attncli.measure.throughput import cached_throughput
from attncli.quantities import format_quantity
from attncli.recipe import Data, Recipe
from attncli.records import Epoch, Evaluation, Record
from attncli.run import DatasetLoader, FigureHook, execute_run, make_input_spec
from attncli.track import RunStore
from attncli.train import TrainingProgress

CACHED_DATASETS = 2  # datasets that a worker keeps


class EventReporter:
    """A RunListener that sends events to the parent and prints what belongs in the run's own log."""

    def __init__(self, send_event: Callable[..., None]) -> None:
        self._send_event = send_event
        self._has_started = False

    def on_stage(self, what: str, title: str = "") -> None:
        """Report a new stage; print the time before the first, as the log also holds earlier attempts.

        The title is printed alone: the parent knows of which run it is.
        """
        if not self._has_started:
            print(f"== {time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}")
        self._has_started = True
        print(f"{title}: {what}" if title else what, flush=True)
        self._send_event("stage", text=what)

    def on_reading(self, what: str, completed: int, total: int) -> None:
        """Report files read to the parent, every 4,096 files."""
        if completed == total or completed % 4096 == 0:
            self._send_event("stage", text=f"{what}: {completed:,}" + (f" of {total:,}" if total else ""))

    def on_step(self, progress: TrainingProgress) -> None:
        """Report the progress of the training."""
        self._send_event(
            "step",
            epoch=progress.epoch,
            epochs=progress.epochs,
            images_per_s=progress.images_per_s,
            seconds_left=progress.seconds_left,
        )

    def on_record(self, record: Record) -> None:
        """Print a new record."""
        if isinstance(record, Epoch):
            val = "" if record.val_top1 is None else f", validation top-1 {record.val_top1:.2%}"
            print(f"epoch {record.epoch}: loss {record.train_loss:.4f}{val}", flush=True)
        elif isinstance(record, Evaluation):
            print(f"{record.split}: top-1 {record.top1:.2%} of {format_quantity(record.images, 'image')}", flush=True)

    def on_warning(self, what: str) -> None:
        """Report a warning."""
        print(f"warning: {what}", flush=True)
        self._send_event("warned", text=what)


def run_task(
    recipe: Recipe,
    *,
    run_store: RunStore,
    send_event: Callable[..., None],
    load_dataset: DatasetLoader,
    save_figures: FigureHook | None,
    tags: Mapping[str, str],
    timing_threads: int | None,
) -> Any:
    """Do a run; it raises what `attncli.run.execute_run` raises."""
    return execute_run(
        recipe,
        run_store=run_store,
        listener=EventReporter(send_event),
        save_figures=save_figures,
        load_dataset=load_dataset,
        tags=tags,
        timing_threads=timing_threads,
    )


def time_task(recipe: Recipe, *, runs: Path, load_dataset: DatasetLoader) -> Any:
    """Time a recipe's network against its baseline, unless the speed cache has it already."""
    device = train.resolve_device(train.init_accelerator())
    input_spec = make_input_spec(load_dataset(recipe.resolve_data(), cache=runs / "cache"))
    net = model.build(recipe, input_spec).to(device)
    build_baseline = partial(model.build, recipe.make_baseline(), input_spec)
    lock = FileLock(runs / name_timing_lock(device.type, device.index or 0))
    with lock, plugin_errors(recipe.model.attn, "fails in timing", code=1):
        return cached_throughput(
            recipe, net, build_baseline, input_spec.classes, input_spec.size, input_spec.frames, runs=runs
        )


def cache_datasets(capacity: int = CACHED_DATASETS) -> Callable[..., Dataset]:
    """Return a `data.load` that keeps the last `capacity` datasets, as the runs of a sweep mostly use the same."""
    datasets: OrderedDict[str, Dataset] = OrderedDict()

    def load_cached(recipe: Data, **options: Any) -> Dataset:
        key = recipe.model_dump_json()
        if key in datasets:
            datasets.move_to_end(key)
        else:
            datasets[key] = data.load(recipe, **options)
            while len(datasets) > capacity:
                datasets.popitem(last=False)
        return datasets[key]

    return load_cached
