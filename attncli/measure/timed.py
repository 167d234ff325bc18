"""The speed of a recipe's network on this machine: from the file of speeds, or measured now."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from attncli.measure.environment import describe_machine
from attncli.measure.speed_cache import SPEEDS_FILE, get_or_measure_speed, make_speed_key
from attncli.measure.throughput import measure_throughput
from attncli.recipe import Recipe
from attncli.records import Speed
from attncli.train import resolve_precision


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
) -> Speed:
    """The speed of `net` against its baseline, made where it is needed; `runs` holds the file of speeds.

    The plain network is its own baseline: its ratios are 1, not what the clock's noise makes of them.
    With `threads`, only a speed measured before with so many threads will do: LookupError where there is none.
    """
    this_machine = describe_machine() | ({} if threads is None else {"threads": threads})
    device = next(net.parameters()).device
    precision = resolve_precision(recipe.train.precision, device)

    def measure_now() -> Speed:
        if threads is not None:
            raise LookupError(recipe.compute_digest())
        return measure_throughput(net, build_baseline(), recipe, classes, size, frames=frames)

    key = make_speed_key(recipe, classes, size, frames, precision, this_machine)
    speed_record = get_or_measure_speed(
        runs / SPEEDS_FILE, key, measure_now, requested_precision=recipe.train.precision
    )
    return _with_unit_ratios(speed_record) if recipe == recipe.make_baseline() else speed_record


def _with_unit_ratios(speed: Speed) -> Speed:
    """As fast as itself."""
    speed = replace(speed, train_ratio=1.0, train_ratio_low=1.0, train_ratio_high=1.0)
    return replace(speed, infer_ratio=1.0, infer_ratio_low=1.0, infer_ratio_high=1.0)
