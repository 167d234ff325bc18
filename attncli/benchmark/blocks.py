"""Time the mechanisms themselves: forward and backward pass of one block, as ratios measured in one run.

Each block is timed in turn with a plain 3 x 3 convolution of the same shape, with the memory floor (one copy of the
map on this machine) and with timm's block, if timm is installed and has it. Milliseconds depend on the machine;
ratios are comparable between machines.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention
from attncli.attention.card import SITE_ARGUMENTS
from attncli.benchmark.timm_blocks import find_timm_block, measure_output_difference
from attncli.measure.host_share import measure_host_share
from attncli.measure.paired_timing import time_calls
from attncli.records import name_speed_limit
from attncli.train import autocast_context, choose_device, resolve_precision, tune_malloc
from attncli.train.device import convert_to_channels_last
from attncli.train.distributed import choose_kernels

SHAPES = ((64, 64, 32, 32), (64, 256, 8, 8), (128, 16, 32, 32))  # the last: resnet20's first stage
PRECISIONS = ("fp32", "bf16")
FRAMES = 8  # T: the batch is N / T clips for mechanisms that work on frames
SITES_WITHOUT_MAP = ("model", "frames-head")  # sites whose mechanisms take no feature map
MIN_SAMPLE_SECONDS = 0.01  # minimum length of a sample
HOST_LIMITED = "the host was the limit"
MapShape = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class BlockTiming:
    """One mechanism at one shape (N, C, H, W): medians; a ratio above 1 means that attncli's takes longer."""

    attn: str
    category: str
    shape: MapShape
    precision: str
    ms: float | None = None  # forward and backward pass
    conv_ratio: float | None = None  # to the 3 x 3 convolution
    floor_ratio: float | None = None  # to the memory floor
    timm: str | None = None
    timm_ratio: float | None = None
    timm_difference: float | None = None  # of the outputs on equal weights, as a share of the largest
    note: str = ""  # why it was not timed, or that the host was the limit and not the GPU
    host_share: float | None = None  # of the block's time, on CUDA: see `measure.host_share`


@dataclass(frozen=True, kw_only=True)
class ReferenceTiming:
    """Reference times of a shape, which the ratios refer to."""

    shape: MapShape
    precision: str
    conv_ms: float
    floor_ms: float
    copy_gb_per_s: float  # bytes read plus bytes written


def list_block_mechanisms() -> tuple[str, ...]:
    """Return the mechanisms that take a feature map."""
    return tuple(
        n for n in attention.mechanism_names() if attention.describe_mechanism(n).card.site not in SITES_WITHOUT_MAP
    )


def bench_blocks(
    mechanisms: Sequence[str],
    *,
    shapes: Sequence[MapShape] = SHAPES,
    precisions: Sequence[str] = PRECISIONS,
    channels_last: bool = True,
    repeats: int = 7,
    device: torch.device | None = None,
    against_timm: bool = False,
) -> Iterator[ReferenceTiming | BlockTiming]:
    """Time mechanisms at every shape and precision; yield a ReferenceTiming, then a BlockTiming per mechanism.

    Mechanisms have their default options and are timed in training mode, conv sites at stride 1. If one cannot be
    built for a shape, or fails there, its row has the reason.

    Args:
        shapes: (N, C, H, W) of the maps.
        repeats: samples per block.
        device: by default that of `--device`, else the GPU if there is one.
        against_timm: compare the outputs with timm's too.

    Raises UserError for a precision that the device does not have or an unknown mechanism, before anything is timed.
    """
    for name in mechanisms:
        attention.locate_mechanism(name)
    device = device or choose_device()
    if device.type == "cpu":
        tune_malloc()
    precisions = [resolve_precision(precision, device) for precision in precisions]
    for shape in shapes:
        for precision in precisions:
            choose_kernels(device, precision)
            setup = BlockSetup(shape, precision, channels_last, device)
            yield _time_reference(setup, repeats)
            for name in mechanisms:
                yield _time_block(name, setup, repeats, against_timm)


@dataclass(frozen=True)
class BlockSetup:
    """Shape, precision, memory layout and device of the timed blocks."""

    shape: MapShape
    precision: str
    channels_last: bool
    device: torch.device

    @property
    def site_facts(self) -> dict[str, Any]:
        """Return the arguments of the site that a mechanism may take."""
        _, c, h, w = self.shape
        site_values = {"channels": c, "channels_in": c, "stride": 1, "groups": 1, "size": (h, w), "stage": 1}
        return {k: v for k, v in {**site_values, "frames": FRAMES, "classes": 10}.items() if k in SITE_ARGUMENTS}

    def prepare_module(self, module: nn.Module) -> nn.Module:
        """Return a module on the device, in the memory layout of the maps, in training mode."""
        module = module.to(self.device).train()
        if self.channels_last:
            convert_to_channels_last(module)
        return module

    def draw_input(self) -> Tensor:
        """Return a map of normal noise that requires a gradient."""
        x = torch.randn(self.shape, device=self.device)
        x = x.bfloat16() if self.precision == "bf16" else x
        return (x.to(memory_format=torch.channels_last) if self.channels_last else x).requires_grad_()


def _make_training_step(module: nn.Module, setup: BlockSetup, map_count: int = 1) -> Callable[[], object]:
    """Return a function that runs one forward and backward pass of a module with `map_count` maps, warmed up."""
    module, inputs = setup.prepare_module(module), [setup.draw_input() for _ in range(map_count)]
    differentiable = [*inputs, *(p for p in module.parameters() if p.requires_grad)]
    gradient: list[Tensor] = []

    def run_step() -> object:
        with autocast_context(setup.precision, setup.device):
            y = module(*inputs)
        if not gradient:
            gradient.append(torch.randn_like(y))
        return torch.autograd.grad(y, differentiable, gradient[0], allow_unused=True)

    for _ in range(2):
        run_step()
    return run_step


def _make_copy_step(setup: BlockSetup) -> Callable[[], object]:
    x = setup.draw_input().detach()
    y = torch.empty_like(x)
    return lambda: y.copy_(x)


def _make_convolution_step(setup: BlockSetup) -> Callable[[], object]:
    c = setup.shape[1]
    return _make_training_step(nn.Conv2d(c, c, 3, padding=1, bias=False), setup)


def _time_in_turn(steps: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[list[float]]:
    """Return the seconds of one call of each step, timed in turn `repeats` times."""
    calls = [max(1, math.ceil(MIN_SAMPLE_SECONDS / max(time_calls(step, 1, device), 1e-7))) for step in steps]
    rounds = [[time_calls(step, n, device) / n for step, n in zip(steps, calls, strict=True)] for _ in range(repeats)]
    return [list(column) for column in zip(*rounds, strict=True)]


def _time_reference(setup: BlockSetup, repeats: int) -> ReferenceTiming:
    conv, floor = _time_in_turn([_make_convolution_step(setup), _make_copy_step(setup)], setup.device, repeats)
    element_bytes = 2 if setup.precision == "bf16" else 4
    copied_bytes = 2 * element_bytes * math.prod(setup.shape)
    return ReferenceTiming(
        shape=setup.shape,
        precision=setup.precision,
        conv_ms=1e3 * statistics.median(conv),
        floor_ms=1e3 * statistics.median(floor),
        copy_gb_per_s=copied_bytes / statistics.median(floor) / 1e9,
    )


def _time_block(name: str, setup: BlockSetup, repeats: int, against_timm: bool = False) -> BlockTiming:
    mechanism = attention.describe_mechanism(name)
    labels: dict[str, Any] = {
        "attn": name, "category": mechanism.category, "shape": setup.shape, "precision": setup.precision
    }  # fmt: skip
    torch.manual_seed(0)
    try:
        arguments = mechanism.select_arguments(setup.site_facts)
        own_step = _make_training_step(
            attention.load_class(name)(**arguments), setup, 3 if mechanism.card.site == "join" else 1
        )
    except (ValueError, RuntimeError, TypeError) as error:
        return BlockTiming(**labels, note=str(error).splitlines()[0] or type(error).__name__)
    steps = [_make_convolution_step(setup), _make_copy_step(setup), own_step]
    timm_block = find_timm_block(name, setup.shape[1], setup.shape[2:])
    if timm_block:
        labels["timm"] = timm_block[0]
        steps.append(_make_training_step(timm_block[1], setup))
    conv, floor, own_seconds, *timm_seconds = _time_in_turn(steps, setup.device, repeats)
    host_share = measure_host_share(own_step, statistics.median(own_seconds), setup.device)
    return BlockTiming(
        **labels,
        host_share=host_share,
        note=HOST_LIMITED if name_speed_limit(host_share) == "host" else "",
        ms=1e3 * statistics.median(own_seconds),
        conv_ratio=_median_ratio(own_seconds, conv),
        floor_ratio=_median_ratio(own_seconds, floor),
        timm_ratio=_median_ratio(own_seconds, timm_seconds[0]) if timm_seconds else None,
        timm_difference=measure_output_difference(name, setup.shape[1], setup.shape[2:]) if against_timm else None,
    )


def _median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


COLUMNS = ("attn", "shape", "type", "ms", "x conv", "x copy", "x timm", "differs", "")


def format_block_row(row: BlockTiming) -> tuple[str, ...]:
    """Format a row as text under `COLUMNS`."""

    def format_figure(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        row.attn,
        "x".join(map(str, row.shape)),
        row.precision,
        format_figure(row.ms, 2),
        format_figure(row.conv_ratio, 2),
        format_figure(row.floor_ratio, 1),
        format_figure(row.timm_ratio, 2),
        "-" if row.timm_difference is None else f"{row.timm_difference:.0e}",
        row.note,
    )


def describe_reference(reference: ReferenceTiming) -> str:
    """Format the references of a shape as one line."""
    shape = "x".join(map(str, reference.shape))
    return (
        f"{shape} {reference.precision}: 3x3 convolution {reference.conv_ms:.2f} ms, "
        f"copy {reference.floor_ms:.3f} ms ({reference.copy_gb_per_s:.0f} GB/s)"
    )
