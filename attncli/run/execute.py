"""One run, from a recipe to a result:

    recipe -> data -> model -> train -> evaluate -> measure -> result

Everything a run writes is in runs/<digest>/: recipe.yaml, log.jsonl (one record per line), checkpoint/, origin.json
and, when it is finished, predictions.npz and result.json. A thread sends it to MLflow, and nothing here waits for
that thread.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from attncli import data, model, records, track, train
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.measure.code_state import name_training_code
from attncli.measure.smallest_image import check_backbone_size
from attncli.recipe import Recipe
from attncli.records import PLAN_TAG, Result
from attncli.run.distributed import FollowingRanks, follow_main_rank, following_ranks
from attncli.run.identity import identify_run
from attncli.run.listener import RunListener
from attncli.run.naming import describe_dataset, make_input_spec
from attncli.run.preconditions import check_preconditions, describe_steps, list_warnings
from attncli.run.run_dir import DISK_ERRNOS, clear_run_dir, locked_run_dir, translated_disk_errors
from attncli.run.stages import RunContext, describe_run_machine, train_and_measure
from attncli.system.files import write_atomically
from attncli.system.gc_tuning import relaxed_gc
from attncli.system.other_work import read_cpu_use
from attncli.system.signals import deferred_signals
from attncli.track import ActiveRun, RunStore, Tracker
from attncli.track.parent_runs import PARENT_TAG
from attncli.train import Interrupted, distributed

FigureHook = Callable[[Path, Dataset], str | None]  # returns what the pictures lack, if anything
DatasetLoader = Callable[..., Dataset]  # data.load, or a cached one


def execute_run(
    recipe: Recipe,
    *,
    run_store: RunStore,
    listener: RunListener,
    fresh: bool = False,
    save_figures: FigureHook | None = None,
    load_dataset: DatasetLoader = data.load,
    tags: Mapping[str, str] | None = None,
    timing_threads: int | None = None,
    profile: bool = False,
) -> Result:
    """Train, evaluate and measure a recipe, and return the result; a finished run is not done again.

    Of several processes the first does all of this; the others train and evaluate with it, and end here (SystemExit).

    Args:
        fresh: start again; otherwise an unfinished run resumes from its checkpoint.
        save_figures: `save_figures(folder, dataset)` may add pictures to the folder before it goes to MLflow; the run
            warns of a failure.
        load_dataset: `data.load`, or a function that caches its answers.
        tags: are added to the MLflow run.
        timing_threads: measure no speed here, but take the one that was measured before with so many threads, if any.
        profile: first profile a few steps of a copy of the network, into profile/, even if the run is finished.

    Raises:
        UserError: the run cannot be done (RunInUseError: another process works on it).
        RunFailedError: the run failed.
        Interrupted: Ctrl-C or SIGTERM came. MLflow's status says the same.
    """
    accelerator = train.init_accelerator()
    if not accelerator.is_main_process:
        follow_main_rank(recipe, accelerator, runs=run_store.runs, resume=not fresh, load_dataset=load_dataset)
    cache_folder = run_store.runs / "cache"
    with following_ranks(accelerator) as followers:
        check_preconditions(recipe, accelerator, run_store, profile)
        recipe = _pin_images(recipe, run_store.runs, listener)
        folder = run_store.runs / recipe.compute_digest()
        _report_surroundings(recipe, accelerator, listener)
        with locked_run_dir(folder, recipe), translated_disk_errors(folder):
            if (result := track.read_finished_result(folder)) and not fresh and not profile:
                return result
            followers.let_load()
            cpu_reading = read_cpu_use()
            with relaxed_gc():
                dataset, net = _load_data_and_network(recipe, listener, load_dataset, cache_folder)
                train.check_network(net, dataset, recipe, accelerator.num_processes)
                _report_setup(recipe, dataset, net, accelerator, listener)
                for warning in list_warnings(recipe, net, dataset, accelerator, cache_folder, cpu_reading):
                    listener.on_warning(warning)
                followers.check_setup()
                all_tags = _list_tags(tags or {}, recipe, accelerator, cache_folder)
                identity = identify_run(recipe, folder.name)  # after all that reads its files
                tracker = Tracker.open(run_store, close_dead_runs=PARENT_TAG not in all_tags)  # a sweep does it once
                active_run = _start_tracking(tracker, recipe, dataset, folder, fresh, all_tags)
            context = RunContext(
                recipe,
                identity,
                folder,
                dataset,
                net,
                accelerator,
                active_run,
                listener,
                all_tags,
                timing_threads,
                profile,
            )
            return _run_tracked(context, fresh, save_figures, followers)


def _pin_images(recipe: Recipe, runs: Path, listener: RunListener) -> Recipe:
    """Return the recipe, for the images that are there now if the run of its digest had others; say so."""
    pinned_recipe = track.pin_changed_images(recipe, runs, partial(data.read_digest, progress=listener.on_reading))
    if pinned_recipe is not recipe:
        listener.on_warning(track.describe_changed_images(recipe, pinned_recipe))
    return pinned_recipe


def _report_surroundings(recipe: Recipe, accelerator: Accelerator, listener: RunListener) -> None:
    """Say which variables of MLflow are ignored, and what is special about the device."""
    for note in track.describe_ignored_variables(recipe.experiment):
        listener.on_stage(f"note: {note}")
    for note in train.list_device_notes(train.resolve_device(accelerator), accelerator.num_processes):
        listener.on_warning(note)


def _report_setup(
    recipe: Recipe, dataset: Dataset, net: nn.Module, accelerator: Accelerator, listener: RunListener
) -> None:
    """Say what is to be known about the images, and how a step of the training is computed."""
    for note in dataset.notes:
        listener.on_stage(f"note: {note}")
    if line := describe_steps(recipe, net, accelerator):
        listener.on_stage(line)


def _load_data_and_network(
    recipe: Recipe, listener: RunListener, load_dataset: DatasetLoader, cache_folder: Path
) -> tuple[Dataset, nn.Module]:
    """Read the images and build the network for them. Meanwhile a thread loads MLflow, which takes seconds."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(track.load_mlflow)
        dataset = load_dataset(recipe.resolve_data(), cache=cache_folder, progress=listener.on_reading)
        check_backbone_size(recipe, dataset.size)
        return dataset, model.build(recipe, make_input_spec(dataset), listener.on_stage)


def _list_tags(tags: Mapping[str, str], recipe: Recipe, accelerator: Accelerator, cache_folder: Path) -> dict[str, str]:
    """Return the tags of a run: those given, what two runs must share to be compared, and how many seeds are planned.

    A sweep may plan more seeds than its recipe, and its recipe more than this sweep trains: the larger number counts.
    """
    device = distributed.resolve_device(accelerator)
    conditions = {
        "precision": train.resolve_precision(recipe.train.precision, device),
        "device": str(device),
        "code": name_training_code(recipe, cache_folder),
    }
    planned_seeds = max(int(tags.get(PLAN_TAG, 0)), recipe.planned_seeds or 0)
    return {**tags, **conditions, **({PLAN_TAG: str(planned_seeds)} if planned_seeds else {})}


def _start_tracking(
    tracker: Tracker, recipe: Recipe, dataset: Dataset, folder: Path, fresh: bool, tags: Mapping[str, str]
) -> ActiveRun:
    """Prepare the run's folder and start its MLflow run. A run that the store refuses leaves no new folder."""
    is_new = not (folder / "recipe.yaml").exists()
    if fresh:
        clear_run_dir(folder)
    write_atomically(folder / "recipe.yaml", recipe.to_yaml())
    records.replace_log(folder, [])  # the training yields again the records of its checkpoint
    active_run = None
    try:
        with deferred_signals():
            active_run = tracker.start_run(
                recipe, describe_dataset(dataset), describe_run_machine(), folder=folder, fresh=fresh, tags=tags
            )
    except KeyboardInterrupt:
        if active_run:
            active_run.end_run("KILLED")
        raise
    except UserError:
        if is_new:
            clear_run_dir(folder, keep_origin=False)
        raise
    return active_run


def _run_tracked(
    context: RunContext, fresh: bool, save_figures: FigureHook | None, followers: FollowingRanks
) -> Result:
    """Do the run within its MLflow run."""
    active_run = context.active_run
    with active_run:
        followers.let_train()
        try:
            result = train_and_measure(context, time.monotonic(), fresh)
        except Interrupted:
            active_run.end_run("KILLED")
            raise
        if save_figures:
            _draw_pictures(context, save_figures)
        if warning := active_run.end_run("FINISHED"):
            context.listener.on_warning(warning)
    return result


def _draw_pictures(context: RunContext, save_figures: FigureHook) -> None:
    """Draw the run's pictures; warn of those that fail, as the training is done and its result written."""
    try:
        if problem := save_figures(context.folder, context.dataset):
            context.listener.on_warning(problem)
    except Exception as error:
        if isinstance(error, Interrupted) or getattr(error, "errno", None) in DISK_ERRNOS:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = f"`attncli look {context.folder.name}` draws those of the attention"
        context.listener.on_warning(f"not all pictures of the run were drawn ({reason}); {hint}")
