"""Convolutions that CPU kernels compute wrong, never finish, or write beyond memory."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attncli.attention.depthwise_conv import make_depthwise_conv
from attncli.attention.safe_convolution import (
    SafeConv2d,
    SafeConvolution,
    convolve_safely,
    replace_unsafe_convolutions,
)

# Of every fault some that plain torch 2.14.1 gets wrong on a CPU with AMX, with bf16 instructions only, or with AVX2.
STEPS = """
import sys, torch
from tests.attention.random_convolutions import TOLERANCES, Case, find_error
from attncli.attention.safe_convolution import convolve_safely
one = (1, 1)
for dtype in TOLERANCES:
    for case in (
        Case(2, 16, 16, 16, (1, 15), one, (0, 7), 1, (8, 32), dtype),  # does not end
        Case(2, 3, 3, 3, (21, 21), one, (10, 10), 1, (32, 32), dtype),
        Case(4, 6, 6, 6, (9, 1), one, (8, 0), 2, (32, 32), dtype),  # dilated
        Case(2, 16, 16, 4, (3, 3), (2, 2), (0, 0), 2, (32, 5), dtype),
        Case(2, 24, 16, 1, (3, 3), one, (3, 3), 3, (33, 33), dtype),
        Case(2, 10, 6, 1, (1, 1), (1, 2), (0, 0), 3, (56, 56), dtype),
        Case(4, 64, 128, 1, (3, 3), (2, 2), one, 1, one, dtype),  # one column
        Case(4, 64, 64, 64, (3, 3), (2, 2), one, 1, one, dtype),
        Case(4, 64, 64, 8, (3, 3), (2, 2), one, 1, (16, 2), dtype),
        Case(1, 1, 16, 1, (5, 5), (1, 2), (2, 2), 1, (32, 2), dtype, has_bias=True),
        Case(4, 16, 32, 1, (4, 4), (4, 4), (0, 0), 1, (16, 16), dtype),  # 4, 8, 12 columns
        Case(4, 8, 8, 1, (1, 8), one, (0, 4), 1, (28, 28), dtype, has_bias=True),
        Case(2, 3, 8, 1, one, (2, 2), (0, 0), 1, (4, 64), dtype),  # writes beyond memory
        Case(4, 4, 16, 1, one, (2, 2), (1, 1), 1, (32, 32), dtype),
        Case(4, 16, 8, 8, one, (1, 2), (0, 0), 1, (4, 1), dtype),
    ):
        for _ in range(3):
            error = find_error(case, convolve_safely)
            assert error < TOLERANCES[dtype], f"{error}: {case}"
"""


def test_results_and_gradients_are_right() -> None:
    """In a process of its own: a fault may kill it, or it may not end."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", STEPS], check=True, timeout=300)


@pytest.mark.parametrize(
    ("conv", "is_replaced"),
    [
        (nn.Conv2d(16, 16, (1, 15), groups=16), True),
        (nn.Conv2d(16, 16, (15, 1), groups=16), False),
        (nn.Conv2d(17, 17, (1, 15), groups=17), False),
        (nn.Conv2d(64, 64, 3, dilation=2, groups=64), True),
        (nn.Conv2d(64, 64, 3, dilation=2), False),
        (nn.Conv2d(64, 64, 3, stride=2), True),
        (nn.Conv2d(64, 64, 1, stride=2), False),
        (nn.Conv2d(8, 64, 1, stride=2), True),
        (nn.Conv2d(8, 64, 4), True),
        (nn.Conv2d(3, 64, 16, stride=16, bias=False), True),
        (nn.Conv2d(64, 64, 3, padding=1), False),
        (SafeConv2d(64, 64, 3), True),
        (nn.Conv1d(8, 8, 8), True),
        (nn.Conv1d(8, 8, 7, padding=3), False),
        (nn.Conv1d(64, 64, 3, stride=2, padding=1), True),
        (nn.Conv1d(4, 8, 1, stride=2), True),
        (nn.Conv3d(8, 8, 3, stride=(1, 2, 2), padding=1), True),
        (nn.Conv3d(3, 8, 1, stride=2, padding=1), True),
        (nn.Conv3d(8, 8, 3), False),
    ],
)
def test_which_are_replaced(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, is_replaced: bool) -> None:
    """Those that can meet a fault; in float32 the numbers are those of torch's."""
    net = nn.Sequential(conv)
    sizes = conv.weight.ndim - 2
    x = torch.randn(1, conv.in_channels, *(32, 32, 7)[:sizes])
    convolve = (F.conv1d, F.conv2d, F.conv3d)[sizes - 1]
    expected = convolve(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    replace_unsafe_convolutions(net)
    assert isinstance(conv, SafeConvolution) == is_replaced
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(8, 8, 8, padding=4),
        nn.Conv1d(16, 16, 3, stride=2, padding=1),
        nn.Conv1d(1, 4, 3, stride=2, padding=1),
        nn.Conv3d(1, 4, 3, stride=2, padding=1),
        nn.Conv3d(17, 32, 3, stride=3, padding=1),
    ],
)
@pytest.mark.parametrize("columns", [1, 2, 16])
def test_sequences_and_volumes_are_right_in_bf16(conv: nn.Conv1d | nn.Conv3d, columns: int) -> None:
    """The result and the weight's gradient, against float64 of the same numbers; freed memory is full of NaN."""
    exact, conv = copy.deepcopy(conv).bfloat16().double(), copy.deepcopy(conv)
    replace_unsafe_convolutions(conv)
    x = torch.randn(4, conv.in_channels, *(3, 5)[: conv.weight.ndim - 3], columns).bfloat16()
    held = [torch.full((1 << k,), float("nan")) for k in range(6, 20)]
    del held
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    gradient = torch.randn(y.shape).bfloat16()
    y.backward(gradient)
    expected = exact(x.double())
    expected.backward(gradient.double())
    assert y.dtype == torch.bfloat16
    for a, b in ((y, expected), (conv.weight.grad, exact.weight.grad)):
        assert a is not None
        assert b is not None
        assert (a.double() - b).norm() < 1e-2 * b.norm()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "options", [{"padding": "same"}, {"padding": "valid"}, {"padding": 2, "padding_mode": "reflect"},
                {"padding": (1, 2), "padding_mode": "circular", "stride": 2}]
)  # fmt: skip
def test_every_padding(options: dict[str, Any]) -> None:
    """As nn.Conv2d pads: by words, and with other numbers than zeros."""
    plain = nn.Conv2d(4, 6, (3, 4), **options).double()
    safe = SafeConv2d(4, 6, (3, 4), **options).double()
    safe.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(safe(x), plain(x))


def test_the_format_is_that_of_autocast() -> None:
    """bf16 within autocast, and of bf16 numbers; a map of one column keeps float32 without it."""
    x, weight = torch.randn(2, 4, 8, 1), torch.randn(6, 4, 3, 3)
    steps = {"stride": (2, 2), "padding": (1, 1)}
    assert convolve_safely(x, weight, None, **steps).dtype == torch.float32
    assert convolve_safely(x.bfloat16(), weight.bfloat16(), None, **steps).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve_safely(x, weight, None, **steps).dtype == torch.bfloat16
        assert convolve_safely(x, torch.randn(6, 4, 4, 4), None, (1, 1), (2, 2)).dtype == torch.bfloat16


def test_depthwise_maps_keep_their_size() -> None:
    """For odd kernels, dilated or not."""
    for kernel, dilation in (((1, 21), 1), ((21, 1), 1), ((5, 5), 3)):
        assert make_depthwise_conv(4, kernel, dilation)(torch.randn(1, 4, 9, 9)).shape == (1, 4, 9, 9)
