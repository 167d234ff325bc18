"""How fast the mechanisms themselves are: forward and backward pass of one block, as ratios taken in one run.

Each block is timed in turn with a plain 3 x 3 convolution of the same shape, with the memory floor (the map read
and written once, as fast as this machine copies it) and, where timm is installed and has the block, with timm's.
Milliseconds say little on another machine; the ratios carry over.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention
from attncli.attention.card import FACTS
from attncli.measure.rivals import rival
from attncli.measure.timing import seconds
from attncli.train import autocast, tune_malloc

SHAPES = ((64, 64, 32, 32), (64, 256, 8, 8), (128, 16, 32, 32))  # the last: resnet20's first stage
PRECISIONS = ("fp32", "bf16")
FRAMES = 8  # T: the batch is N / T clips for mechanisms that work on frames
NO_MAP = ("model", "frames-head")  # sites whose mechanisms take no feature map
GRAIN = 0.01  # seconds that a sample lasts at least
Shape = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mechanism at one shape (N, C, H, W): medians; a ratio above 1 means that ours takes longer."""

    attn: str
    category: str
    shape: Shape
    precision: str
    ms: float | None = None  # forward and backward pass
    conv_ratio: float | None = None  # to the 3 x 3 convolution
    floor_ratio: float | None = None  # to the memory floor
    timm: str | None = None
    timm_ratio: float | None = None
    note: str = ""  # why it was not timed


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the ratios of a shape refer to."""

    shape: Shape
    precision: str
    conv_ms: float
    floor_ms: float
    copy_gb_per_s: float  # bytes read plus bytes written


def names() -> tuple[str, ...]:
    """The mechanisms that take a feature map."""
    return tuple(n for n in attention.names() if attention.describe(n).card.site not in NO_MAP)


def bench(
    wanted: Sequence[str],
    *,
    shapes: Sequence[Shape] = SHAPES,
    precisions: Sequence[str] = PRECISIONS,
    channels_last: bool = True,
    repeats: int = 7,
    device: torch.device | None = None,
) -> Iterator[Reference | Row]:
    """Time the mechanisms `wanted` at every shape and precision: a Reference for each, followed by its rows.

    Mechanisms have their default options and are timed in training mode, conv sites at stride 1. One that can't
    be built for a shape, or fails there, gives a row with the reason.
    """
    device = device or torch.device("cpu")
    if device.type == "cpu":
        tune_malloc()
    for shape in shapes:
        for precision in precisions:
            place = Place(shape, precision, channels_last, device)
            yield _reference(place, repeats)
            for name in wanted:
                yield _row(name, place, repeats)


@dataclass(frozen=True)
class Place:
    """Where blocks are timed."""

    shape: Shape
    precision: str
    channels_last: bool
    device: torch.device

    @property
    def facts(self) -> dict[str, Any]:
        """What a mechanism may ask of the place."""
        _, c, h, w = self.shape
        known = {"channels": c, "channels_in": c, "stride": 1, "groups": 1, "size": (h, w), "stage": 1}
        return {k: v for k, v in {**known, "frames": FRAMES, "classes": 10}.items() if k in FACTS}

    def lay(self, module: nn.Module) -> nn.Module:
        """A module on the device, in the memory layout of the maps, in training mode."""
        module = module.to(self.device).train()
        return module.to(memory_format=torch.channels_last) if self.channels_last else module

    def draw(self) -> Tensor:
        """A map of normal noise that asks for its gradient."""
        x = torch.randn(self.shape, device=self.device)
        x = x.bfloat16() if self.precision == "bf16" else x
        return (x.to(memory_format=torch.channels_last) if self.channels_last else x).requires_grad_()


def _work(module: nn.Module, place: Place, maps: int = 1) -> Callable[[], object]:
    """One forward and backward pass of a module that takes `maps` maps, warm."""
    module, inputs = place.lay(module), [place.draw() for _ in range(maps)]
    wanted = [*inputs, *(p for p in module.parameters() if p.requires_grad)]
    gradient: list[Tensor] = []

    def step() -> object:
        with autocast(place.precision, place.device):
            y = module(*inputs)
        if not gradient:
            gradient.append(torch.randn_like(y))
        return torch.autograd.grad(y, wanted, gradient[0], allow_unused=True)

    for _ in range(2):
        step()
    return step


def _copy(place: Place) -> Callable[[], object]:
    x = place.draw().detach()
    y = torch.empty_like(x)
    return lambda: y.copy_(x)


def _convolution(place: Place) -> Callable[[], object]:
    c = place.shape[1]
    return _work(nn.Conv2d(c, c, 3, padding=1, bias=False), place)


def _timed(works: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[list[float]]:
    """Seconds of one call of each, timed in turn `repeats` times."""
    calls = [max(1, math.ceil(GRAIN / max(seconds(w, 1, device), 1e-7))) for w in works]
    rounds = [[seconds(w, n, device) / n for w, n in zip(works, calls, strict=True)] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


def _reference(place: Place, repeats: int) -> Reference:
    conv, floor = _timed([_convolution(place), _copy(place)], place.device, repeats)
    width = 2 if place.precision == "bf16" else 4
    copied = 2 * width * math.prod(place.shape)
    return Reference(
        shape=place.shape,
        precision=place.precision,
        conv_ms=1e3 * statistics.median(conv),
        floor_ms=1e3 * statistics.median(floor),
        copy_gb_per_s=copied / statistics.median(floor) / 1e9,
    )


def _row(name: str, place: Place, repeats: int) -> Row:
    mechanism = attention.describe(name)
    row: dict[str, Any] = {
        "attn": name, "category": mechanism.category, "shape": place.shape, "precision": place.precision
    }  # fmt: skip
    torch.manual_seed(0)
    try:
        asked = {k: v for k, v in place.facts.items() if k in mechanism.facts}
        ours = _work(attention.load(name).Attention(**asked), place, 3 if mechanism.card.site == "join" else 1)
    except (ValueError, RuntimeError, TypeError) as error:
        return Row(**row, note=str(error).splitlines()[0] or type(error).__name__)
    works = [_convolution(place), _copy(place), ours]
    theirs = rival(name, place.shape[1], place.shape[2:])
    if theirs:
        row["timm"] = theirs[0]
        works.append(_work(theirs[1], place))
    conv, floor, own, *other = _timed(works, place.device, repeats)
    return Row(
        **row,
        ms=1e3 * statistics.median(own),
        conv_ratio=_ratio(own, conv),
        floor_ratio=_ratio(own, floor),
        timm_ratio=_ratio(own, other[0]) if other else None,
    )


def _ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


COLUMNS = ("attn", "shape", "type", "ms", "x conv", "x copy", "x timm", "")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text under `COLUMNS`."""

    def shown(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        row.attn,
        "x".join(map(str, row.shape)),
        row.precision,
        shown(row.ms, 2),
        shown(row.conv_ratio, 2),
        shown(row.floor_ratio, 1),
        shown(row.timm_ratio, 2),
        row.note,
    )


def caption(reference: Reference) -> str:
    """What the ratios of a shape refer to, as a line."""
    shape = "x".join(map(str, reference.shape))
    return (
        f"{shape} {reference.precision}: 3x3 convolution {reference.conv_ms:.2f} ms, "
        f"copy {reference.floor_ms:.3f} ms ({reference.copy_gb_per_s:.0f} GB/s)"
    )
