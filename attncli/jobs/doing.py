"""The two things a worker does: a whole run, and the timing of a network."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attncli import measure, model, train
from attncli.attention.own import blamed
from attncli.data.lock import exclusive
from attncli.recipe import Recipe
from attncli.records import Epoch, Evaluation, Record
from attncli.run import Decorate, Load, run, shape
from attncli.train import Step, process

TIMING_LOCK = ".timing.lock"  # one timing at a time on this machine


class Teller:
    """A run's Watch that tells the parent, and prints what belongs in the run's own log."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._begun = False

    def stage(self, what: str) -> None:
        """A part of the run begins; the first is headed by the time, as the log holds earlier attempts too."""
        if not self._begun:
            print(f"== {time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}")
        self._begun = True
        print(what, flush=True)
        self._say("stage", text=what)

    def reading(self, what: str, done: int, total: int) -> None:
        """Files are read; the parent hears of it every so often."""
        if done == total or done % 4096 == 0:
            self._say("stage", text=f"{what}: {done:,}" + (f" of {total:,}" if total else ""))

    def step(self, step: Step) -> None:
        """Training goes on."""
        self._say(
            "step",
            epoch=step.epoch,
            epochs=step.epochs,
            images_per_s=step.images_per_s,
            seconds_left=step.seconds_left,
        )

    def record(self, record: Record) -> None:
        """A record was made."""
        if isinstance(record, Epoch):
            val = "" if record.val_top1 is None else f", validation top-1 {record.val_top1:.2%}"
            print(f"epoch {record.epoch}: loss {record.train_loss:.4f}{val}", flush=True)
        elif isinstance(record, Evaluation):
            print(f"{record.split}: top-1 {record.top1:.2%} of {record.images:,} images", flush=True)

    def warn(self, what: str) -> None:
        """Something that stopped nothing."""
        print(f"warning: {what}", flush=True)
        self._say("warned", text=what)


def run_task(
    recipe: Recipe,
    *,
    runs: Path,
    uri: str | None,
    say: Callable[..., None],
    load: Load,
    decorate: Decorate | None,
    tags: Mapping[str, str],
    threads: int | None,
) -> Any:
    """Do a run; what it raises is `attncli.run.run`'s."""
    return run(
        recipe,
        runs=runs,
        uri=uri,
        watch=Teller(say),
        decorate=decorate,
        load=load,
        tags=tags,
        threads=threads,
    )


def time_task(recipe: Recipe, *, runs: Path, load: Load) -> Any:
    """Time a recipe's network against its baseline, unless the file of speeds knows it already."""
    device = process.device(train.start())
    like = shape(load(recipe.data, cache=runs / "cache"))
    net, plain = model.build(recipe, like).to(device), partial(model.build, recipe.baseline(), like)
    with exclusive(runs / TIMING_LOCK), blamed(recipe.model.attn, "fails in timing", code=1):
        return measure.timed(recipe, net, plain, like.classes, like.size, like.frames, runs=runs)
