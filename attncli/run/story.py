"""One run, from a recipe to a result: the whole story.

    recipe -> data -> model -> train -> evaluate -> measure -> result

Everything a run makes lies in runs/<digest>/: recipe.yaml, log.jsonl (a record a line), checkpoint/, origin.json
and, when it is finished, result.json. MLflow hears of it from a thread that nothing here waits for.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from attncli import attention, data, measure, model, records, track, train
from attncli.attention.own import blamed
from attncli.collector import rarely
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import Cost, Epoch, Evaluation, Record, Result, Speed
from attncli.run.company import follow, leading
from attncli.run.describe import backbone, facts, plain, shape, title
from attncli.run.folder import clear, occupied, on_disk
from attncli.run.watch import Watch
from attncli.signals import held
from attncli.track import Live, Tracker
from attncli.track.origin import label
from attncli.train import Interrupted

Decorate = Callable[[Path, Dataset], None]
Load = Callable[..., Dataset]  # data.load, or what remembers its answers


@dataclass(frozen=True)
class Job:
    """A run's recipe, data, network and folder, with who looks on."""

    recipe: Recipe
    folder: Path
    dataset: Dataset
    net: nn.Module
    accelerator: Accelerator
    live: Live
    watch: Watch
    threads: int | None = None  # with which the speed was timed, where that was done before
    profile: bool = False

    def log(self, record: Record) -> None:
        """Pass a record on: to disk, to MLflow, to who looks on."""
        records.append(self.folder, record)
        self.live.log(record)
        self.watch.record(record)


def run(
    recipe: Recipe,
    *,
    runs: Path,
    uri: str | None,
    watch: Watch,
    fresh: bool = False,
    decorate: Decorate | None = None,
    load: Load = data.load,
    tags: Mapping[str, str] | None = None,
    threads: int | None = None,
    profile: bool = False,
) -> Result:
    """Train, evaluate and measure a recipe; a finished run is not done again but its result given.

    An unfinished one goes on from its checkpoint, unless `fresh` is asked for. `decorate(folder, dataset)` may add
    pictures to the folder before it goes to MLflow, `tags` are added to the MLflow run. With `threads` nothing is
    timed here: the speed is the one that `measure.timed` found before with so many threads, if it did. `profile`
    takes a few steps of a copy apart before, into profile/, and goes through a finished run again for it.
    Of several processes the first does all that; the others train and evaluate with it, and end here (SystemExit).
    Raises UserError for what cannot be run (OccupiedError where another process is at it), RunFailedError for a
    run that went wrong, Interrupted after Ctrl-C or SIGTERM; MLflow's status says the same.
    """
    accelerator = train.start()
    if not accelerator.is_main_process:
        follow(recipe, accelerator, runs=runs, resume=not fresh, load=load)
    with leading(accelerator) as go:
        _can(recipe, accelerator, runs, uri, profile)
        folder = runs / recipe.digest()
        with occupied(folder, recipe), on_disk(folder):
            if (result := track.finished(folder)) and not fresh and not profile:
                return result
            with rarely():
                with ThreadPoolExecutor(1) as pool:  # MLflow takes seconds to load: meanwhile the images are read
                    pool.submit(track.load_mlflow)
                    dataset = load(recipe.data, cache=runs / "cache", progress=watch.reading)
                    net = model.build(recipe, shape(dataset), watch.stage)
                go()
                live = _begin(Tracker.open(uri, runs), recipe, dataset, folder, fresh, tags)
            job = Job(recipe, folder, dataset, net, accelerator, live, watch, threads, profile)
            return _tracked(job, fresh, decorate)


def _can(recipe: Recipe, accelerator: Accelerator, runs: Path, uri: str | None, profile: bool) -> None:
    """See in seconds that the run can be done. Raises UserError where it cannot."""
    track.reach(uri, runs)
    train.check(recipe, accelerator)
    if profile and accelerator.num_processes > 1:
        raise UserError("--profile takes a run of one process apart", "leave out --processes")


def _begin(
    tracker: Tracker, recipe: Recipe, dataset: Dataset, folder: Path, fresh: bool, tags: Mapping[str, str] | None
) -> Live:
    """The run's folder made ready, and its MLflow run."""
    if fresh:
        clear(folder)
    records.write_atomically(folder / "recipe.yaml", recipe.yaml())
    records.rewrite(folder, [])  # the training tells again what its checkpoint knows
    live = None
    try:
        with held():
            live = tracker.start(recipe, facts(dataset), machine(), folder=folder, fresh=fresh, tags=tags)
    except KeyboardInterrupt:
        if live:
            live.end("KILLED")
        raise
    return live


def _tracked(job: Job, fresh: bool, decorate: Decorate | None) -> Result:
    """The run with its MLflow run around it."""
    live = job.live
    with live:
        try:
            result = _work(job, time.monotonic(), fresh)
        except Interrupted:
            live.end("KILLED")
            raise
        if decorate:
            decorate(job.folder, job.dataset)
        if warning := live.end("FINISHED"):
            job.watch.warn(warning)
    return result


def _work(job: Job, began: float, fresh: bool) -> Result:
    """Train, evaluate, measure; the result is on disk before this returns."""
    recipe, dataset, accelerator = job.recipe, job.dataset, job.accelerator
    job.watch.stage(f"{title(recipe)}: {len(dataset.train):,} training images of {dataset.size[1]} px")
    if (job.folder / "checkpoint").exists() and not fresh:
        job.watch.stage("going on from its checkpoint; what was done before is told again:")
    if job.profile:
        job.watch.stage(train.profile(job.net, dataset, recipe, job.folder, accelerator))
    epochs, earlier = _epochs(job, fresh)
    test = train.evaluate(job.net, dataset.test, dataset, recipe, name="test", accelerator=accelerator)
    train.part(accelerator)
    job.log(test)
    job.watch.stage("measuring the overhead against the plain network")
    cost, speed = overhead(job)
    result = _result(job, epochs, test, cost, speed, time.monotonic() - began + earlier)
    records.write_atomically(job.folder / records.RESULT, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _epochs(job: Job, fresh: bool) -> tuple[list[Epoch], float]:
    """Train: the epochs, and the seconds of training among them that earlier calls spent."""
    epochs, earlier, last = [], 0.0, time.monotonic()
    training = train.train(
        job.net,
        job.dataset,
        job.recipe,
        folder=job.folder,
        resume=not fresh,
        progress=job.watch.step,
        accelerator=job.accelerator,
    )
    with blamed(job.recipe.model.attn, "fails in training", code=1):
        for epoch in training:
            last, before = time.monotonic(), last
            earlier += max(0.0, epoch.train_seconds - (last - before))  # none of an epoch that was trained just now
            epochs.append(epoch)
            job.log(epoch)
    return epochs, earlier


def machine() -> dict[str, Any]:
    """The machine, with the number of processes where there are several."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return measure.machine() | ({"processes": processes} if processes > 1 else {})


def overhead(job: Job) -> tuple[Cost, Speed | None]:
    """What the network costs against the same recipe's plain one."""
    recipe, like = job.recipe, shape(job.dataset)
    baseline = cache(lambda: model.build(recipe.baseline(), like))
    cost = measure.cost_of(recipe, like, job.net, baseline)
    job.log(cost)
    if not recipe.measure.speed:
        return cost, None
    try:
        speed = measure.timed(
            recipe,
            job.net,
            baseline,
            like.classes,
            like.size,
            like.frames,
            runs=job.folder.parent,
            threads=job.threads,
        )
    except LookupError:
        job.watch.warn("the speed is left out: it was not measured before the training")
        return cost, None
    job.log(speed)
    return cost, speed


def _result(job: Job, epochs: list[Epoch], test: Evaluation, cost: Cost, speed: Speed | None, seconds: float) -> Result:
    recipe = job.recipe
    validated = [e.val_top1 for e in epochs if e.val_top1 is not None]
    return Result(
        digest=recipe.digest(),
        run_id=job.live.run_id,
        status="FINISHED",
        attn=label(recipe),
        backbone=backbone(recipe),
        dataset=job.dataset.name,
        category="" if recipe.model.attn == attention.NONE else attention.describe(recipe.model.attn).category,
        seed=recipe.seed,
        epochs=len(epochs),
        test_top1=test.top1,
        test_top5=test.top5,
        test_loss=test.loss,
        val_top1=validated[-1] if validated else None,
        best_val_top1=max(validated, default=None),
        baseline=plain(recipe),
        params=cost.params,
        baseline_params=cost.baseline_params,
        macs=cost.macs,
        baseline_macs=cost.baseline_macs,
        train_images_per_s=speed.train_images_per_s if speed else None,
        infer_images_per_s=speed.infer_images_per_s if speed else None,
        train_ratio=speed.train_ratio if speed else None,
        infer_ratio=speed.infer_ratio if speed else None,
        seconds=seconds,
        precision=train.resolve_precision(recipe.train.precision, next(job.net.parameters()).device),
        device=str(next(job.net.parameters()).device),
        machine=machine(),
        group=recipe.group(),
        data_digest=job.dataset.digest,
        folder=str(job.folder),
    )
