"""Time training and inference of a network against its baseline, in turn, or read the speed from the cache.

Both networks are copied, so that they do not change, and get one batch of noise images. They run in turn (network and
baseline, baseline and network, ...): if something slows the machine down for a while, it slows both. A pair gives one
ratio; the ratio is their median with its 95 % interval, for which at least nine pairs are timed. The first runs are
warm-up (memory, kernels, clocks, the compiler) and do not count. A training step is that of the training loop
(`attncli.train.training_step`), with a learning rate of 0; the batch stays the same one, so the work on images is not
in it. After a training in several processes it is the step of one of them, without their exchange.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from attncli.errors import RunFailedError
from attncli.measure.environment import describe_machine
from attncli.measure.fake_tensors import image_shape
from attncli.measure.host_share import measure_host_shares
from attncli.measure.paired_timing import MIN_PAIRS, Pair, compute_ratio_interval, time_calls, time_pairs
from attncli.measure.speed_cache import MAX_AGE_S, SPEEDS_FILE, get_or_measure_speed, make_speed_key
from attncli.measure.timed_network import TimedNetwork, prepare_timed_network
from attncli.recipe import Recipe
from attncli.records import Speed
from attncli.system.hardware import read_load
from attncli.system.other_work import count_cores_used_by_others, read_cpu_use
from attncli.train import resolve_precision, tune_malloc
from attncli.train.distributed import choose_kernels
from attncli.train.memory_fitting import fit_batch_to_memory
from attncli.train.step_graph import agree_on_steps

TRAINING_SHARE = 0.7  # of the time that timing may take
SMALLEST_BATCH = 16
NetworkPair = tuple[TimedNetwork, TimedNetwork]  # the network and its baseline


class UntimedError(Exception):
    """No speed of a network was measured before, and it is not to be measured now."""


def measure_throughput(
    model: nn.Module,
    baseline: nn.Module,
    recipe: Recipe,
    classes: int,
    size: tuple[int, int],
    frames: int | None = None,
    *,
    precision: str | None = None,
    device: torch.device | None = None,
    processes: int = 1,
) -> Speed:
    """Measure the throughput of `model` and `baseline`, as the recipe trains them, in images (or clips) per second.

    Takes about `recipe.measure.seconds`. If nine pairs would take longer, or memory runs out, a batch size that
    `measure.batch_size` does not fix is halved; slow networks get fewer pairs than `recipe.measure.repeats`, but at
    least nine. Raises RunFailedError if memory runs out with the fixed batch, or with a single image.

    Args:
        size: (H, W) of the images.
        frames: T of clips; None for images.
        precision: by default the recipe's.
        device: by default the model's.
        processes: of the training; the batch is that of one of them.
    """
    device = device or next(model.parameters()).device
    precision = resolve_precision(precision or recipe.train.precision, device)
    choose_kernels(device, precision, deterministic=recipe.train.deterministic)
    if device.type == "cpu":
        tune_malloc()
    batch = recipe.measure.batch_size or max(1, recipe.train.batch_size // processes)

    def prepare_pair(batch: int) -> NetworkPair:
        shape = image_shape(batch, size, frames)
        return prepare_network_pair(model, baseline, recipe, classes, shape, precision, device, processes)

    def time_batch(batch: int) -> Speed:
        return _time_pair(prepare_pair, batch, recipe, precision, device)

    speed = fit_batch_to_memory(time_batch, batch, device, is_fixed=recipe.measure.batch_size is not None)
    if speed is not None:
        return speed
    raise RunFailedError(
        f"out of memory while timing {recipe.measure.batch_size or 1} images of {size[0]} x {size[1]} px on {device}",
        "use a smaller measure.batch_size or data.image_size",
    )


def _time_pair(
    prepare_pair: Callable[[int], NetworkPair], batch: int, recipe: Recipe, precision: str, device: torch.device
) -> Speed:
    """Time both networks with `batch` images, which may still become fewer on a CPU. Raises if memory runs out."""
    load, cpu_use_before = read_load(), read_cpu_use()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch, networks = _prepare_fitting_pair(prepare_pair, batch, recipe, device)
        budget, repeats = recipe.measure.seconds, recipe.measure.repeats
        train_steps, infer_steps = [n.train for n in networks], [n.infer for n in networks]
        train = time_pairs(train_steps[0], train_steps[1], device, budget * TRAINING_SHARE, repeats)
        train_shares = measure_host_shares(train_steps, train, device)
        for network in networks:
            network.net.eval()
        infer = time_pairs(infer_steps[0], infer_steps[1], device, budget * (1 - TRAINING_SHARE), repeats)
        infer_shares = measure_host_shares(infer_steps, infer, device)
    speed = _make_speed_record(train, infer, networks, batch, precision, device)
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(
        speed,
        measured_at=measured_at,
        load=None if load is None else max(load, read_load() or 0.0),
        cores_used_by_others=round(count_cores_used_by_others(cpu_use_before), 3),
        train_host_share=train_shares[0],
        infer_host_share=infer_shares[0],
        baseline_train_host_share=train_shares[1],
        baseline_infer_host_share=infer_shares[1],
    )


def prepare_network_pair(
    model: nn.Module,
    baseline: nn.Module,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, ...],
    precision: str,
    device: torch.device,
    processes: int = 1,
) -> NetworkPair:
    """Return copies of both networks on the device, warmed up: each has run one inference and one training step."""
    nets = (model, baseline)
    own, plain = agree_on_steps((recipe, recipe.make_baseline()), nets, device, precision, processes)
    return (
        prepare_timed_network(model, own, classes, shape, precision, device),
        prepare_timed_network(baseline, plain, classes, shape, precision, device),
    )


def _prepare_fitting_pair(
    prepare_pair: Callable[[int], NetworkPair], batch: int, recipe: Recipe, device: torch.device
) -> tuple[int, NetworkPair]:
    """Return the batch size to time with, and both networks, warmed up with it.

    It is `batch`, and unless the recipe fixes it, halved on a CPU until nine pairs fit into the time.
    """
    if recipe.measure.batch_size is not None or device.type != "cpu" or batch <= SMALLEST_BATCH:
        return batch, prepare_pair(batch)
    trial_pair = prepare_pair(SMALLEST_BATCH)
    image_seconds = sum(time_calls(network.train, 1, device) for network in trial_pair) / SMALLEST_BATCH
    while batch > SMALLEST_BATCH and batch * image_seconds * (MIN_PAIRS + 2) > recipe.measure.seconds * TRAINING_SHARE:
        batch = max(batch // 2, SMALLEST_BATCH)
    return batch, trial_pair if batch == SMALLEST_BATCH else prepare_pair(batch)


def _make_speed_record(
    train: list[Pair],
    infer: list[Pair],
    networks: NetworkPair,
    batch: int,
    precision: str,
    device: torch.device,
) -> Speed:
    """Return the record: medians of the seconds, and the median of the pairs' ratios with its interval."""
    train_ratio, train_low, train_high = compute_ratio_interval(train)
    infer_ratio, infer_low, infer_high = compute_ratio_interval(infer)
    train_rate, baseline_train_rate = _compute_rates(train, batch)
    infer_rate, baseline_infer_rate = _compute_rates(infer, batch)
    return Speed(
        train_images_per_s=train_rate,
        infer_images_per_s=infer_rate,
        baseline_train_images_per_s=baseline_train_rate,
        baseline_infer_images_per_s=baseline_infer_rate,
        train_ratio=train_ratio,
        train_ratio_low=train_low,
        train_ratio_high=train_high,
        infer_ratio=infer_ratio,
        infer_ratio_low=infer_low,
        infer_ratio_high=infer_high,
        batch_size=batch,
        repeats=len(train),
        precision=precision,
        device=str(device),
        threads=torch.get_num_threads(),
        peak_memory_bytes=networks[0].memory,
        baseline_peak_memory_bytes=networks[1].memory,
    )


def _compute_rates(pairs: Sequence[Pair], batch: int) -> tuple[float, float]:
    """Return the images per second of the network and of its baseline, by the medians of their seconds."""
    own_seconds, baseline_seconds = zip(*pairs, strict=True)
    return batch / statistics.median(own_seconds), batch / statistics.median(baseline_seconds)


def cached_throughput(
    recipe: Recipe,
    net: nn.Module,
    build_baseline: Callable[[], nn.Module],
    classes: int,
    size: tuple[int, int],
    frames: int | None,
    *,
    runs: Path,
    threads: int | None = None,
    processes: int = 1,
) -> Speed:
    """Return the speed of `net` against its baseline, from the file of speeds in `runs` or measured now.

    The baseline is built only if needed. The plain network is its own baseline: its ratios are exactly 1.
    With `threads`, only a speed measured before with so many threads is returned; UntimedError if there is none.
    After a training in several processes the batch is that of one of them.
    """
    this_machine = describe_machine() | ({} if threads is None else {"threads": threads})
    device = next(net.parameters()).device
    precision = resolve_precision(recipe.train.precision, device)

    def measure_now() -> Speed:
        if threads is not None:
            raise UntimedError(recipe.compute_digest())
        return measure_throughput(net, build_baseline(), recipe, classes, size, frames=frames, processes=processes)

    key = make_speed_key(recipe, classes, size, frames, precision, this_machine)
    if processes > 1:
        key["processes"] = processes
    if device.type == "cpu" and this_machine["gpu"]:
        key["device"] = device.type  # as `--device cpu` asked for; else the machine's GPU
    speed_record = get_or_measure_speed(
        runs / SPEEDS_FILE,
        key,
        measure_now,
        requested_precision=recipe.train.precision,
        max_age_s=MAX_AGE_S if threads is None else None,
    )
    return _with_unit_ratios(speed_record) if recipe == recipe.make_baseline() else speed_record


def _with_unit_ratios(speed: Speed) -> Speed:
    """Return the speed with ratios of 1: a network is as fast as itself."""
    speed = replace(speed, train_ratio=1.0, train_ratio_low=1.0, train_ratio_high=1.0)
    return replace(speed, infer_ratio=1.0, infer_ratio_low=1.0, infer_ratio_high=1.0)
