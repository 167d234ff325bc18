"""Own facts of self-calibrated convolutions."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention.channel_spatial.scconv import Attention
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"pooling_r": 2}, {"split": 0.25}, {"split": 0.0}, {"dilation": 2}]
FACTS: list[dict[str, Any]] = [{}, {"stride": 2, "groups": 4}, {"size": (2, 3)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """9 c^2 / groups + 2c for the plain half, three times that for the calibrated one; 9 C^2 / groups + 4C in all."""
    c, groups = facts["channels"], facts["groups"]
    plain = round(c * options.get("split", 0.5))
    return sum(9 * w * w // groups + 2 * w for w in (plain, *3 * [c - plain]))


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SCConv(inplanes, planes, stride, padding, dilation, groups, pooling_r) behind `scconv.`, with k1 beside it.

    SCConv alone, without k1, is a split of 0. In k2 the pool is layer 0.
    """
    ctor = meta.get("ctor") or meta.get("args") or {}
    half = params["k1.0.weight"].shape[0] if "k1.0.weight" in params else 0
    k3 = next(v for k, v in params.items() if k.endswith("k3.0.weight"))
    c, groups = half + k3.shape[0], k3.shape[0] // k3.shape[1]
    module = Attention(
        c,
        c,
        ctor.get("stride", 1),
        groups,
        pooling_r=ctor.get("pooling_r", 4),
        split=half / c,
        dilation=ctor.get("dilation", 1),
    )
    state: dict[str, Tensor] = {}
    for name, value in params.items():
        k, layer, leaf = name.removeprefix("scconv.").split(".")
        layer = str(int(layer) - (k == "k2"))
        if k in ("k2", "k3"):
            state[f"{k}.{layer}.{leaf}"] = value
        elif layer == "0":
            state[f"{k}.{leaf}"] = value
        elif k == "k4":  # whose norm follows that of k1
            both = half and value.ndim
            state[f"norm.{leaf}"] = torch.cat([params[f"k1.1.{leaf}"], value]) if both else value
    return module, state


def test_calibrated_half_equals_official() -> None:
    """The official SCConv alone, on the second half of the channels."""
    data = np.load(shared("parity/scconv.npz"))
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith("param/scconv")}
    module, state = official(json.loads(str(data["meta"])), params)
    module.double().eval().load_state_dict(state)
    x = torch.from_numpy(data["x"])
    y = module(x[:, x.shape[1] // 2 :])
    torch.testing.assert_close(y, torch.from_numpy(data["y_scconv"]), rtol=0, atol=1e-9)


def test_two_c_parameters_more_than_it_replaces() -> None:
    """9 C^2 + 4C against 9 C^2 + 2C of a convolution and its norm; 7,552 over a ResNet-50 (claim sc-params)."""
    more = {c: sum(p.numel() for p in Attention(c, c).parameters()) - 9 * c * c - 2 * c for c in (64, 128, 256, 512)}
    assert more == {c: 2 * c for c in more}
    assert sum(n * more[c] for c, n in ((64, 3), (128, 4), (256, 6), (512, 3))) == 7552


@pytest.mark.parametrize(("r", "ratio"), [(4, 0.765625), (2, 0.8125)])
def test_share_of_the_multiply_adds(r: int, ratio: float) -> None:
    """3/4 + 1/(4 r^2) of the convolution it stands for, at stride 1 (claim sc-cost-ratio)."""
    x, counts = torch.randn(1, 8, 16, 16), []
    for module in (Attention(8, 8, pooling_r=r), nn.Conv2d(8, 8, 3, padding=1, bias=False)):
        with FlopCounterMode(display=False) as counter:
            module(x)
        counts.append(counter.get_total_flops())
    assert counts[0] / counts[1] == ratio


def test_the_halves_are_separate() -> None:
    """The first C/2 outputs depend on the first C/2 inputs only, the others on the others."""
    module = randomise(Attention(8, 8).double()).eval()
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64, requires_grad=True)
    for half, other in ((slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))):
        (grad,) = torch.autograd.grad(module(x)[:, half].sum(), x)
        assert not grad[:, other].any()
        assert grad[:, half].any()


def test_hand_computed_calibration() -> None:
    """With K2 = 0 the calibrated half is K4 * (sigmoid(x_2) . BN(K3 * x_2)); identity kernels give x sigmoid(x)."""
    module = Attention(2, 2, split=0.5).double().eval()
    with torch.no_grad():
        for conv in (module.k1, module.k2[0], module.k3[0], module.k4):
            conv.weight.zero_()
            conv.weight[:, :, 1, 1] = 0 if conv is module.k2[0] else 1
        for norm in (module.k3[1], module.norm):
            norm.weight.fill_((1 + 1e-5) ** 0.5)  # undoes the epsilon
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    expected = torch.cat([x[:, :1], x[:, 1:] * torch.sigmoid(x[:, 1:])], 1)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 4)])
def test_pool_shrinks_to_small_maps(size: tuple[int, int]) -> None:
    """On a map with a side below r the pool is as wide as that side, where the official code raises."""
    module = randomise(Attention(4, 4, split=0.0).double()).eval()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    far = module.k2(F.avg_pool2d(x, min(4, *size)))
    expected = module.norm(module.k4(module.k3(x) * torch.sigmoid(x + F.interpolate(far, size, mode="nearest"))))
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize(
    ("facts", "options", "word"),
    [
        ((8, 4), {}, "keeps the width"),
        ((8, 8, 1, 8), {}, "do not divide"),
        ((8, 8), {"split": 1.0}, "below 1"),
        ((8, 8), {"pooling_r": 0}, "1 or more"),
        ((8, 8), {"dilation": 0}, "1 or more"),
    ],
)
def test_refusals(facts: tuple[int, ...], options: dict[str, Any], word: str) -> None:
    """Places and options that make no such convolution are refused with a sentence."""
    with pytest.raises(ValueError, match=word):
        Attention(*facts, **options)
