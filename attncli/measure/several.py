"""Time several networks in turn: a round times each of them once, every other round in reverse order.

If something slows the machine down for a while, it slows all networks of a round, so figures of one round are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from attncli import model
from attncli.errors import RunFailedError
from attncli.measure.environment import describe_machine
from attncli.measure.fake_tensors import image_shape
from attncli.measure.host_share import measure_host_shares
from attncli.measure.paired_timing import SAMPLE_SECONDS, time_calls
from attncli.measure.throughput import SMALLEST_BATCH
from attncli.measure.timed_network import TimedNetwork, prepare_timed_network
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.system.other_work import count_cores_used_by_others, read_cpu_use
from attncli.train import choose_device, resolve_precision, tune_malloc
from attncli.train.distributed import choose_kernels
from attncli.train.memory_fitting import fit_batch_to_memory
from attncli.train.step_graph import agree_on_steps

ROUNDS = 9  # a distribution-free 95 % interval of a median needs six
LARGE_IMAGE_SIDE, BATCH, LARGE_BATCH = (
    64,
    128,
    16,
)  # batch sizes for small images, and for sides from LARGE_IMAGE_SIDE px
STEP_SECONDS = 2.0  # on a CPU, the batch is halved while a step takes longer


@dataclass(frozen=True)
class TimedRounds:
    """Seconds of a step of `batch_size` images: one row per round, one column per network."""

    train: list[list[float]]
    infer: list[list[float]]
    batch_size: int
    precision: str
    device: str
    machine: dict[str, Any]
    when: str  # UTC, ISO 8601
    train_host_shares: list[float | None]  # of each network, see `measure.host_share`
    infer_host_shares: list[float | None]
    cores_used_by_others: float  # on average meanwhile


def time_networks(recipes: Sequence[Recipe], shape: InputSpec, *, rounds: int = ROUNDS) -> TimedRounds:
    """Time training and inference steps of the recipes' networks on data of `shape`, in turn, for `rounds` rounds.

    Raises UserError if a network cannot be built for such data, RunFailedError if one image is too much for the memory.
    """
    cpu_use = read_cpu_use()
    device = choose_device()
    precision = resolve_precision(recipes[0].train.precision, device)
    choose_kernels(device, precision, deterministic=any(recipe.train.deterministic for recipe in recipes))
    if device.type == "cpu":
        tune_malloc()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch, networks = _prepare_at_common_batch(recipes, shape, precision, device)
        train_steps, infer_steps = [n.train for n in networks], [n.infer for n in networks]
        train = _time_rounds(train_steps, rounds, device)
        train_shares = measure_host_shares(train_steps, train, device)
        for network in networks:
            network.net.eval()
        infer = _time_rounds(infer_steps, rounds, device)
        infer_shares = measure_host_shares(infer_steps, infer, device)
    timestamp = datetime.now(UTC).isoformat(timespec="seconds")
    return TimedRounds(
        train=train,
        infer=infer,
        batch_size=batch,
        precision=precision,
        device=str(device),
        machine=describe_machine(),
        when=timestamp,
        train_host_shares=train_shares,
        infer_host_shares=infer_shares,
        cores_used_by_others=round(count_cores_used_by_others(cpu_use), 3),
    )


def _prepare_at_common_batch(
    recipes: Sequence[Recipe], shape: InputSpec, precision: str, device: torch.device
) -> tuple[int, list[TimedNetwork]]:
    """Return the batch size, and the networks, warmed up with it; it is halved while memory runs out.

    Raises RunFailedError if one image of each network is too much.
    """
    nets = [model.build(recipe, shape) for recipe in recipes]
    agreed_recipes = agree_on_steps(recipes, nets, device, precision)

    def prepare_networks(batch: int) -> list[TimedNetwork]:
        images = image_shape(batch, shape.size, shape.frames)
        return [
            prepare_timed_network(net, recipe, shape.classes, images, precision, device)
            for net, recipe in zip(nets, agreed_recipes, strict=True)
        ]

    batch = LARGE_BATCH if max(shape.size) >= LARGE_IMAGE_SIDE else BATCH
    if device.type == "cpu":
        networks = prepare_networks(SMALLEST_BATCH)
        slowest = max(time_calls(network.train, 1, device) for network in networks) / SMALLEST_BATCH
        while batch > 2 and batch * slowest > STEP_SECONDS:
            batch //= 2
        if batch == SMALLEST_BATCH:
            return batch, networks
    prepared = fit_batch_to_memory(lambda size: (size, prepare_networks(size)), batch, device)
    if prepared is not None:
        return prepared
    raise RunFailedError(
        f"out of memory while timing {len(recipes)} networks of {shape.size[0]} x {shape.size[1]} px on {device}",
        "use a smaller data.image_size, or --device cpu",
    )


def _time_rounds(steps: Sequence[Any], rounds: int, device: torch.device) -> list[list[float]]:
    """Return the seconds of one call of each step, one list per round."""
    calls = [max(1, round(SAMPLE_SECONDS / time_calls(step, 1, device))) for step in steps]
    seconds_by_round = []
    for i in range(rounds):
        order = range(len(steps)) if i % 2 == 0 else reversed(range(len(steps)))
        step_seconds = {j: time_calls(steps[j], calls[j], device) / calls[j] for j in order}
        seconds_by_round.append([step_seconds[j] for j in range(len(steps))])
    return seconds_by_round
