"""`attncli run`: train one recipe, measure its overhead, track it in MLflow."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._device_option import device_option
from attncli.commands._output import echo_json, echo_note, json_option, quiet_option
from attncli.commands._printed_commands import complete_commands
from attncli.commands._recipe_options import read_recipe, recipe_options
from attncli.commands._result_stream import release_stdout
from attncli.commands._run_options import new_store_options
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.system.launcher import read_process_rank
from attncli.system.signals import end_with_launcher

if TYPE_CHECKING:
    from attncli.recipe import Recipe
    from attncli.records import Result
    from attncli.runs import RunStore


@click.command()
@recipe_options
@click.option("--resume/--fresh", default=True, help="Resume an unfinished run (default), or start it again.")
@click.option("--profile", is_flag=True, help="Profile a few steps first, into RUNS/<digest>/profile/.")
@click.option("--look", is_flag=True, help="At the end draw what the attention does, as `attncli look` does.")
@click.option("--log-model", is_flag=True, help="At the end add the network to MLflow, for mlflow.pytorch.load_model.")
@click.option("--processes", type=click.IntRange(1), metavar="N", help="Train in N processes, on cores (gloo) or GPUs.")
@quiet_option
@device_option
@new_store_options
@json_option
def command(
    resume: bool,
    profile: bool,
    look: bool,
    log_model: bool,
    processes: int | None,
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a network with an attention mechanism, measure its overhead, and track it in MLflow.

    RECIPE is a YAML file or a name that `attncli recipe ls` lists; the default is resnet18 on the embedded digits. The
    digest of its recipe identifies a run: called again, a finished run is shown and an unfinished one resumes.

    With --processes or a launcher, each batch is split over the processes and batch norm is synchronised. Results
    equal a one-process run up to rounding, except for dropout. Accelerate's --multi_gpu works on CPUs too.

    More in `attncli help concepts` and `attncli help distributed`.

    \b
    Example:
      attncli run --attn eca --backbone resnet18
      attncli run cifar10-resnet20 --attn cbam --seed 3
      attncli run --attn cbam.py:CBAM --set model.options.reduction_ratio=8 --epochs 20
      attncli run --attn se+simam --backbone net.py:Net
      attncli run cifar10-resnet20 --attn se --processes 2
      accelerate launch --multi_gpu --num_processes 2 -m attncli run RECIPE
      torchrun --nproc-per-node 2 -m attncli run RECIPE
    """
    from attncli import data, validation
    from attncli.measure.smallest_image import check_backbone_size
    from attncli.report.summary import render_run_summary
    from attncli.runs import RunStore

    recipe = read_recipe(options, runs=runs)
    validation.check_image_size(recipe)
    check_backbone_size(recipe, recipe.data.size)
    is_one_of_several = _is_one_of_several(processes)
    end_with_launcher()
    run_store = RunStore(runs, tracking_uri)
    result = None if not resume or profile or is_one_of_several else _find_finished_result(recipe, runs)
    if result is not None:
        if not quiet:
            _report_finished(result, run_store)
    else:
        data.check_data_root(recipe.data)
        if not is_one_of_several and (processes or 1) > 1:
            return _launch_processes(processes or 1, recipe)
        is_silent = quiet or read_process_rank().rank > 0
        result = _train_run(recipe, run_store, is_silent, fresh=not resume, profile=profile, look=look)
    if as_json:
        echo_json(asdict(result))
    else:
        click.echo(render_run_summary(result, run_store))
    if log_model and read_process_rank().rank == 0:  # last, as it may fail, and the run is done
        _log_model(runs / result.digest, run_store)
    return None


def _find_finished_result(recipe: "Recipe", runs: Path) -> "Result | None":
    """Return the result of the finished run of a recipe, with the images that are there now; None if there is none."""
    from attncli import track
    from attncli.runs import restore_recipe

    pinned_recipe = track.pin_changed_images(recipe, runs)
    result = track.read_finished_result(runs / pinned_recipe.compute_digest())
    if result is None:
        return None
    if pinned_recipe is not recipe:
        echo_note(f"warning: {track.describe_changed_images(recipe, pinned_recipe)}")
    restore_recipe(runs / result.digest, pinned_recipe)
    return result


def _report_finished(result: "Result", run_store: "RunStore") -> None:
    """Say on stderr that the run was finished before, and whether MLflow has it."""
    from attncli import track

    echo_note(f"this run is finished already ({result.folder}); --fresh runs it again")
    if track.list_untracked_digests(run_store, [result.digest]):
        echo_note("it is not in MLflow as a finished run: `attncli sync` adds it")


def _log_model(folder: Path, run_store: "RunStore") -> None:
    """Add the network of a finished run to its MLflow run."""
    import numpy as np

    from attncli.track.artifacts import log_network
    from attncli.trained import ImageClassifier, load_trained_network

    trained = load_trained_network(folder)
    classifier, example = ImageClassifier(trained).eval(), np.zeros((2, *trained.input_shape), np.float32)
    address = log_network(classifier, folder.name, example=example, run_store=run_store)
    click.echo(f'model: mlflow.pytorch.load_model("{address}")', err=True)


def _is_one_of_several(processes: int | None) -> bool:
    """Return whether a launcher started this process as one of several.

    Raises UserError if the number is not the requested one. Accelerate's launcher, asked for several processes on a
    machine without GPUs, sets their port and then starts a single one without a warning.
    """
    process_rank = read_process_rank()
    has_accelerate = {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= os.environ.keys()
    if processes is None and has_accelerate and not process_rank.has_launcher:
        raise UserError(
            "accelerate launch was asked for several processes and started one, as it does without GPUs",
            "use attncli run --processes N (1 if one is meant), or accelerate launch --multi_gpu --num_processes N",
        )
    if process_rank.has_launcher and processes not in (None, process_rank.processes):
        problem = f"--processes {processes}, but the launcher started {process_rank.processes}"
        raise UserError(problem, "leave out --processes")
    return process_rank.processes > 1


def _launch_processes(processes: int, recipe: "Recipe") -> None:
    """Run this command in several processes. Raises UserError if they are more than the images of a step."""
    if processes > recipe.train.batch_size:
        images = format_quantity(recipe.train.batch_size, "image")
        problem = f"train.batch_size: {images} cannot be divided over {processes} processes"
        raise UserError(problem, f"use at most {recipe.train.batch_size}; one for each core or GPU is fastest")
    from attncli.run.launch import launch_ranks

    release_stdout()
    launch_ranks(processes, sys.argv[1:])


def _train_run(
    recipe: "Recipe", run_store: "RunStore", quiet: bool, fresh: bool, profile: bool, look: bool
) -> "Result":
    """Train with progress on stderr; imports torch."""
    from attncli.system.gc_tuning import relaxed_gc

    with relaxed_gc():
        from attncli.report.run_figures import save_all_run_figures, save_run_figures
        from attncli.report.run_progress import RunProgress
        from attncli.run import execute_run

    save_figures = save_all_run_figures if look else save_run_figures
    with RunProgress(quiet, recipe.train.epochs, complete_commands) as progress:
        return execute_run(
            recipe, run_store=run_store, listener=progress, fresh=fresh, save_figures=save_figures, profile=profile
        )
