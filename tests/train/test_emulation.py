"""Every convolution, layer or function, in bf16 on a CPU that has no instructions for bf16."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.train import precision
from attncli.train.emulation import EmulatedConvolutions
from tests.commands import plugins
from tests.shared import ROOT
from tests.train.emulated import CPU, KINDS, LAYOUTS, lay, noise

ONLY_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # read when torch is imported
ROUNDING = 2.0**-8  # of a number to bf16, and as much again
COMPUTED_KERNEL = {
    "value": "x * F.conv2d(x, self.kernel.mT.unsqueeze(3), padding=(1, 0)).sigmoid()",
    "init": "self.kernel = nn.Parameter(torch.full((1, 3, channels), scale / channels))",
    "first": "import torch.nn.functional as F\n",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, Any]:
    """What a process finds that may use no more than AVX2; the last training is of a user's own mechanism."""
    mine = plugins.write(tmp_path_factory.mktemp("own") / "mine.py", **COMPUTED_KERNEL)
    command = [sys.executable, "-m", "tests.train.emulated", "cbam", "triplet", mine]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | ONLY_AVX2)
    found = json.loads(done.stdout)
    if found["native"]:
        pytest.skip("ONEDNN_MAX_CPU_ISA does not take bf16 from this processor")
    return found


def test_every_kind_is_exact_to_one_rounding(told) -> None:
    """Results and gradients of every kind, in every layout of input and kernel, are off by bf16's rounding alone."""
    assert len(told["errors"]) == len(KINDS) * len(LAYOUTS) ** 2
    failing = {kind: e for kind, e in told["errors"].items() if isinstance(e, str) or e > ROUNDING}
    assert failing == {}


def test_trainings_come_to_what_float32_comes_to(told) -> None:
    """Mechanisms that compute a kernel train in bf16, a user's own among them, with the losses of fp32."""
    failing = {attn: pair for attn, pair in told["losses"].items() if pair[0] != pytest.approx(pair[1], rel=0.03)}
    assert failing == {}


@pytest.mark.parametrize("native", [True, False])
def test_emulated_exactly_where_bf16_is_not_native(monkeypatch, native: bool) -> None:
    """Native bf16 goes to torch as it is, and so does every other format."""
    monkeypatch.setattr(precision, "has_native_bf16", lambda _: native)
    assert isinstance(precision.autocast_context("bf16", CPU), torch.autocast) == native
    assert isinstance(precision.autocast_context("fp32", CPU), torch.autocast)


@pytest.mark.parametrize("of_input", ["contiguous", "channels_last"])
@pytest.mark.parametrize("of_kernel", ["contiguous", "channels_last"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("planes", [1, 3])
def test_the_result_has_the_layout_that_torch_gives_it(of_input: str, of_kernel: str, size: int, planes: int) -> None:
    """So the layers that follow meet the maps that they would meet without emulation."""
    x, kernel = lay(noise(2, planes, 6, 6, seed=0), of_input), lay(noise(4, planes, size, size, seed=1), of_kernel)
    expected = F.conv2d(x.float(), kernel.float())
    with EmulatedConvolutions():
        y = F.conv2d(x, kernel)
    assert y.dtype == torch.bfloat16
    assert y.stride() == expected.stride()


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """A layer's convolution under autocast to bf16, and under emulation."""
    with torch.autocast("cpu", torch.bfloat16), EmulatedConvolutions():
        return F.conv2d(x, kernel)


def test_autocast_says_what_is_bf16() -> None:
    """Float32 is rounded under autocast and left alone outside of it and where it is switched off; float64 always."""
    x, kernel = torch.full((1, 1, 1, 1), 1.001), torch.full((1, 1, 1, 1), 3.0)
    assert convolve(x, kernel).item() == 3.0
    assert convolve(x.double(), kernel.double()).item() == pytest.approx(3.003, rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16), EmulatedConvolutions(), torch.autocast("cpu", enabled=False):
        assert F.conv2d(x, kernel).item() == pytest.approx(3.003, rel=1e-6)
    with EmulatedConvolutions():
        assert F.conv2d(x, kernel).item() == pytest.approx(3.003, rel=1e-6)
