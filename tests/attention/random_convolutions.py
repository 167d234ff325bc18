"""Random convolutions and their gradients on this CPU, against float64: what differs, dies or does not end is printed.

`python -m tests.attention.random_convolutions --plain` shows the faults of torch and oneDNN that
`attncli.attention.safe_convolution` keeps away, and without `--plain` whether it does. ONEDNN_MAX_CPU_ISA chooses lower
instruction sets. Needs `os.fork`.
"""

import argparse
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.attention.safe_convolution import convolve_safely

CHANNELS = (1, 2, 3, 4, 6, 8, 12, 15, 16, 17, 24, 31, 32, 48, 64)
SIDES = (1, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 21)
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # relative, of the norm of all numbers
MOST_PRODUCTS = 2e7
LIMIT = 12  # seconds


@dataclass(frozen=True)
class Case:
    """One convolution, its layout and its number format."""

    images: int
    channels_in: int
    channels: int
    groups: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: int
    size: tuple[int, int]
    dtype: torch.dtype
    is_channels_last: bool = True
    has_bias: bool = False


def draw_case(rng: random.Random, dtypes: list[torch.dtype]) -> Case | None:
    """Return a random case, or None if it does not fit or would take long."""
    groups, per_group = rng.choice([(1, c) for c in CHANNELS] + [(c, 1) for c in CHANNELS] + [(4, 8), (8, 2), (3, 3)])
    side = rng.choice(SIDES)
    kernel = rng.choice([(side, side), (1, side), (side, 1), (3, 3), (1, 1)])
    dilation = rng.choice([1, 1, 1, 2, 3])
    padding = rng.choice([(0, 0), (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))])
    height = rng.choice([1, 2, 4, 8, 14, 32, 33, 56])
    case = Case(
        images=rng.choice([1, 2, 4, 8]), channels_in=groups * per_group, channels=groups * rng.choice([1, 1, 2, 8, 16]),
        groups=groups, kernel=kernel, stride=rng.choice([(1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (4, 4), (1, 2)]),
        padding=padding, dilation=dilation, size=(height, rng.choice([height, height, 1, 2, 32, 64])),
        dtype=rng.choice(dtypes), is_channels_last=rng.random() < 0.75, has_bias=rng.random() < 0.5,
    )  # fmt: skip
    reaches = [dilation * (k - 1) + 1 for k in kernel]
    fits = all(s + 2 * p >= r for s, p, r in zip(case.size, padding, reaches, strict=True))
    products = case.images * case.channels * per_group * height * case.size[1] * kernel[0] * kernel[1]
    return case if fits and products < MOST_PRODUCTS else None


def compute(case: Case, convolve: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return the result and the gradients in float64; freed memory is full of NaN before."""
    g = torch.Generator().manual_seed(0)
    shapes = [
        (case.images, case.channels_in, *case.size),
        (case.channels, case.channels_in // case.groups, *case.kernel),
    ]
    shapes += [(case.channels,)] if case.has_bias else []
    inputs = [torch.randn(shape, generator=g).to(case.dtype).to(dtype) for shape in shapes]
    if case.is_channels_last:
        inputs[:2] = [t.to(memory_format=torch.channels_last) for t in inputs[:2]]
    leaves: list[Any] = [t.clone().requires_grad_() for t in inputs]
    held = [torch.full((1 << k,), float("nan")) for k in range(8, 20, 2)]
    del held
    x, weight, bias = leaves if case.has_bias else (*leaves, None)
    y = convolve(x, weight, bias, case.stride, case.padding, (case.dilation, case.dilation), case.groups)
    y.backward(torch.randn(y.shape, generator=g).to(case.dtype).to(dtype))
    return [y.detach().double(), *(t.grad.double() for t in leaves)]


def find_error(case: Case, convolve: Callable[..., Tensor]) -> float:
    """Return the largest relative error of the result and the gradients."""
    with torch.backends.mkldnn.flags(enabled=False):
        expected = compute(case, F.conv2d, torch.float64)
    pairs = zip(compute(case, convolve, case.dtype), expected, strict=True)
    errors = [float((a - b).norm() / b.norm().clamp_min(1e-6)) for a, b in pairs]
    return max((float("inf") if e != e else e) for e in errors)


def check_in_child(case: Case, convolve: Callable[..., Tensor]) -> str | None:
    """Return what is wrong with a case, or None; it is computed in a process that may die or not end."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(int(find_error(case, convolve) > TOLERANCES[case.dtype]))
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"not ended after {LIMIT} s" if number == signal.SIGALRM else signal.Signals(number).name
    return "wrong" if os.waitstatus_to_exitcode(status) else None


def main() -> None:
    """Check random cases for some time and print those that fail."""
    parser = argparse.ArgumentParser(prog="python -m tests.attention.random_convolutions", description=__doc__)
    parser.add_argument("--plain", action="store_true", help="torch's own convolutions")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], action="append")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rng, end, checked, failed = random.Random(chosen.seed), time.monotonic() + chosen.seconds, 0, 0
    dtypes = [getattr(torch, name) for name in chosen.dtype or ["float32", "bfloat16"]]
    convolve = F.conv2d if chosen.plain else convolve_safely
    find_error(Case(1, 3, 4, 1, (3, 3), (1, 1), (1, 1), 1, (8, 8), torch.float32), convolve)  # what starts once
    while time.monotonic() < end:
        case = draw_case(rng, dtypes)
        if case is None:
            continue
        fault = check_in_child(case, convolve)
        checked += 1
        failed += fault is not None
        if fault:
            print(f"{fault}: {case}", flush=True)
    print(f"{checked} convolutions, {failed} failed")


if __name__ == "__main__":
    main()
