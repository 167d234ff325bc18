"""The speed of a recipe's network on this machine: from the file of speeds, or measured now."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from attncli.measure.host import machine
from attncli.measure.timing import speed
from attncli.recipe import Recipe
from attncli.records import Speed
from attncli.speeds import FILE, cached_speed, speed_key
from attncli.train import resolve_precision


def timed(
    recipe: Recipe,
    net: nn.Module,
    baseline: Callable[[], nn.Module],
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
    here = machine() | ({} if threads is None else {"threads": threads})
    device = next(net.parameters()).device
    precision = resolve_precision(recipe.train.precision, device)

    def now() -> Speed:
        if threads is not None:
            raise LookupError(recipe.digest())
        return speed(net, baseline(), recipe, classes, size, frames=frames)

    key = speed_key(recipe, classes, size, frames, precision, here)
    found = cached_speed(runs / FILE, key, now, asked=recipe.train.precision)
    return _itself(found) if recipe == recipe.baseline() else found


def _itself(speed: Speed) -> Speed:
    """As fast as itself."""
    speed = replace(speed, train_ratio=1.0, train_ratio_low=1.0, train_ratio_high=1.0)
    return replace(speed, infer_ratio=1.0, infer_ratio_low=1.0, infer_ratio_high=1.0)
