"""Time training and inference of a network against its baseline, in turn, or read the speed from the cache.

Both networks are copied, so that they do not change, and get one batch of noise images. They run in turn (network and
baseline, baseline and network, ...): if something slows the machine down for a while, it slows both. A pair gives one
ratio; the ratio is their median with its 95 % interval, for which at least nine pairs are timed. The first runs are
warm-up (memory, kernels, clocks, the compiler) and do not count. A training step is that of the training loop:
forward and backward pass of the loss in the recipe's precision and memory layout, clipping, optimiser, captured if
`train.graph` says so; the learning rate is 0.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from attncli.errors import RunFailedError
from attncli.measure.environment import describe_machine
from attncli.measure.fake_tensors import image_shape
from attncli.measure.host_share import measure_host_shares
from attncli.measure.speed_cache import MAX_AGE_S, SPEEDS_FILE, get_or_measure_speed, make_speed_key
from attncli.recipe import Recipe
from attncli.records import Speed
from attncli.system.hardware import read_load
from attncli.system.median_interval import compute_median_interval
from attncli.system.other_work import count_cores_used_by_others, read_cpu_use
from attncli.train import autocast_context, optim, resolve_precision, tune_malloc
from attncli.train.accumulation import accumulate_gradients
from attncli.train.device import compile_network, convert_to_channels_last, uses_channels_last
from attncli.train.distributed import choose_kernels
from attncli.train.errors import empty_device_cache, is_out_of_memory
from attncli.train.loss import TrainingObjective
from attncli.train.norm_counters import keep_norm_counters_on_host
from attncli.train.parameter_groups import group_parameters
from attncli.train.small_map_convolution import speed_up_small_maps
from attncli.train.step_graph import agree_on_steps, make_step_graph

TRAINING_SHARE = 0.7  # of the time that timing may take
MIN_PAIRS = 9  # timed at least: a distribution-free interval of fewer is hardly shorter than their range
SAMPLE_SECONDS = 0.1  # minimum length of a sample, so that the clock's resolution and short delays matter little
SMALLEST_BATCH = 16
WARM_SECONDS = 0.5  # that a GPU works before it is timed
Pair = tuple[float, float]  # seconds of the network and of the baseline for the same work


@dataclass
class TimedNetwork:
    """A network on the device, with one training step and one inference pass as functions."""

    net: nn.Module
    train: Callable[[], None]
    infer: Callable[[], None]
    memory: int | None = None  # bytes, at the peak of training


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

    Takes about `recipe.measure.seconds`. If three pairs would take longer, or memory runs out, a batch size that
    `measure.batch_size` does not fix is halved; slow networks get fewer pairs than `recipe.measure.repeats`, but at
    least three. Raises RunFailedError if memory runs out with the fixed batch, or with a single image.

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
    while batch:
        try:
            return _time_pair(model, baseline, recipe, classes, image_shape(batch, size, frames), precision, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        empty_device_cache(device)
        batch = 0 if recipe.measure.batch_size is not None else batch // 2
    raise RunFailedError(
        f"out of memory while timing {recipe.measure.batch_size or 1} images of {size[0]} x {size[1]} px on {device}",
        "use a smaller measure.batch_size or data.image_size",
    )


def _time_pair(
    model: nn.Module,
    baseline: nn.Module,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, ...],
    precision: str,
    device: torch.device,
) -> Speed:
    """Time both networks with images of `shape`, whose batch may still shrink on a CPU. Raises if memory runs out."""
    load, start = read_load(), read_cpu_use()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch, networks = _prepare_fitting_pair(model, baseline, recipe, classes, shape, precision, device)
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
        cores_used_by_others=round(count_cores_used_by_others(start), 3),
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
) -> tuple[TimedNetwork, TimedNetwork]:
    """Return copies of both networks on the device, warmed up: each has run one inference and one training step."""
    nets = (model, baseline)
    own, plain = agree_on_steps((recipe, recipe.make_baseline()), nets, device, precision)
    return (
        prepare_timed_network(model, own, classes, shape, precision, device),
        prepare_timed_network(baseline, plain, classes, shape, precision, device),
    )


def prepare_timed_network(
    model: nn.Module,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, ...],
    precision: str,
    device: torch.device,
) -> TimedNetwork:
    """Return a warmed-up copy of a network on the device; its noise batch of `shape` is the same for all networks."""
    torch.manual_seed(0)
    images = torch.randn(math.prod(shape[:-3]), *shape[-3:], device=device)
    if uses_channels_last(recipe.train, device):
        images = images.to(memory_format=torch.channels_last)
    images, labels = images.unflatten(0, shape[:-3]), torch.randint(classes, shape[:1], device=device)
    return _warm_up_network(model, recipe, recipe.model.attn, images, labels, precision)


def time_pairs(
    first: Callable[[], None], second: Callable[[], None], device: torch.device, budget: float, repeats: int
) -> list[Pair]:
    """Return seconds per call of `first` and `second`, timed in turn in about `budget` seconds after one trial pair.

    Every other pair is timed in reverse order; otherwise a machine that slows down steadily would favour the first.
    """
    trial_seconds = time_calls(first, 1, device) + time_calls(second, 1, device)
    calls = max(1, min(math.ceil(2 * SAMPLE_SECONDS / trial_seconds), int(budget / (trial_seconds * repeats))))
    pairs = []
    for i in range(max(MIN_PAIRS, min(repeats, int(budget / (trial_seconds * calls))))):
        order = (first, second) if i % 2 == 0 else (second, first)
        call_seconds = {work: time_calls(work, calls, device) / calls for work in order}
        pairs.append((call_seconds[first], call_seconds[second]))
    return pairs


def time_calls(work: Callable[[], object], calls: int, device: torch.device) -> float:
    """Return the seconds that `calls` calls of `work` take on the device; CUDA events measure without host delays."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    _synchronize_device(device)
    return time.perf_counter() - begin


def _synchronize_device(device: torch.device) -> None:
    if device.type not in ("cpu", "cuda"):
        torch.accelerator.synchronize(device)


def _warm_up_network(
    model: nn.Module, recipe: Recipe, attn: str, images: Tensor, labels: Tensor, precision: str
) -> TimedNetwork:
    device, settings = images.device, recipe.train
    bytes_before = _count_allocated_bytes(device)
    net = copy.deepcopy(model).to(device).train()
    if uses_channels_last(settings, device):
        convert_to_channels_last(net)
    keep_norm_counters_on_host(net, settings.compile)
    speed_up_small_maps(net, device, precision)
    compile_network(net, settings)
    objective = TrainingObjective(net, smoothing=settings.label_smoothing, precision=precision, device=device)
    optimizer = optim.build_optimizer(group_parameters(net, settings, attn), settings, device)
    optim.set_learning_rate(optimizer, 0.0)
    scaler = GradScaler(device.type, enabled=precision == "fp16")

    def update_weights(images: Tensor, labels: Tensor) -> Tensor:
        loss = accumulate_gradients(objective, images, labels, scaler, min(settings.accumulate, len(images)))
        if settings.clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), settings.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss

    step_graph = make_step_graph(recipe, net, optimizer, device, precision)

    def train_step() -> None:
        if step_graph:
            step_graph.run(update_weights, images, labels)
        else:
            update_weights(images, labels)

    def infer_step() -> None:
        with torch.inference_mode(), autocast_context(precision, device):
            net(images)

    timed_network = TimedNetwork(net, train_step, infer_step)
    net.eval()
    infer_step()
    net.train()
    train_step()
    _synchronize_device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        train_step()  # the optimiser has its state now; not captured yet, as a captured step allocates nothing
        timed_network.memory = torch.cuda.max_memory_allocated(device) - bytes_before
        _run_until_warm(train_step, device)
    return timed_network


def _run_until_warm(step: Callable[[], None], device: torch.device) -> None:
    """Repeat a step until the GPU's clocks have risen."""
    started_at = time.perf_counter()
    while time.perf_counter() - started_at < WARM_SECONDS:
        step()
        torch.cuda.synchronize(device)


def _count_allocated_bytes(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _prepare_fitting_pair(
    model: nn.Module,
    baseline: nn.Module,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, ...],
    precision: str,
    device: torch.device,
) -> tuple[int, tuple[TimedNetwork, TimedNetwork]]:
    """Return the batch size to time with, and both networks, warmed up with it.

    It is that of `shape`, and unless the recipe fixes it, halved on a CPU until nine pairs fit into the time.
    """

    def prepare_pair(batch: int) -> tuple[TimedNetwork, TimedNetwork]:
        return prepare_network_pair(model, baseline, recipe, classes, (batch, *shape[1:]), precision, device)

    batch = shape[0]
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
    networks: tuple[TimedNetwork, TimedNetwork],
    batch: int,
    precision: str,
    device: torch.device,
) -> Speed:
    """Return the record: medians of the seconds, and the median of the pairs' ratios with its interval."""
    train_ratio, train_low, train_high = compute_ratio_interval(train)
    infer_ratio, infer_low, infer_high = compute_ratio_interval(infer)
    rates = [batch / statistics.median(times) for pairs in (train, infer) for times in zip(*pairs, strict=True)]
    return Speed(
        train_images_per_s=rates[0],
        infer_images_per_s=rates[2],
        baseline_train_images_per_s=rates[1],
        baseline_infer_images_per_s=rates[3],
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


def compute_ratio_interval(pairs: list[Pair]) -> tuple[float, float, float]:
    """Return the median of the first's throughput divided by the second's, and the ends of its 95 % interval."""
    return compute_median_interval([second / first for first, second in pairs])


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
    With `threads`, only a speed measured before with so many threads is returned; LookupError if there is none.
    After a training in several processes the batch is that of one of them.
    """
    this_machine = describe_machine() | ({} if threads is None else {"threads": threads})
    device = next(net.parameters()).device
    precision = resolve_precision(recipe.train.precision, device)

    def measure_now() -> Speed:
        if threads is not None:
            raise LookupError(recipe.compute_digest())
        return measure_throughput(net, build_baseline(), recipe, classes, size, frames=frames, processes=processes)

    key = make_speed_key(recipe, classes, size, frames, precision, this_machine)
    if processes > 1:
        key["processes"] = processes
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
