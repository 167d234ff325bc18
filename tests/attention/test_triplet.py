"""Own facts of triplet attention."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.triplet import Attention
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"kernel_size": 3},
    {"no_spatial": True},
    {"zero_spatial": False},
    {"bn_momentum": 0.1},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 k^2 + 2 a gate, two or three gates, whatever the width."""
    return (3 - options.get("no_spatial", False)) * (2 * options.get("kernel_size", 7) ** 2 + 2)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """TripletAttention(no_spatial, kernel_size): gates cw, hc, hw, each with conv.conv and conv.bn."""
    module = Attention(
        kernel_size=params["cw.conv.conv.weight"].shape[-1], no_spatial="hw.conv.conv.weight" not in params
    )
    renamed = {k.replace(".conv.conv.", ".0.").replace(".conv.bn.", ".1."): v for k, v in params.items()}
    return module, renamed


def test_without_the_spatial_gate_equals_official() -> None:
    """no_spatial drops g_hw and divides by 2, as in the official class."""
    data = np.load(shared("parity/triplet.npz"))
    stems = ("param/cw", "param/hc")
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith(stems)}
    module, state = official(json.loads(str(data["meta"])), params)
    module.double().eval().load_state_dict(state)
    y = module(torch.from_numpy(data["x"]))
    torch.testing.assert_close(y, torch.from_numpy(data["y_no_spatial"]), rtol=0, atol=1e-9)


def by_permutation(module: Attention, x: Tensor) -> Tensor:
    """y as the paper draws it: each gate on a permuted copy of x, pooled over its first axis."""

    def branch(gate: nn.Module, t: Tensor) -> Tensor:
        return t * gate(torch.cat([t.amax(1, keepdim=True), t.mean(1, keepdim=True)], 1)).sigmoid()

    cw = branch(module.cw, x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
    hc = branch(module.hc, x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    return (branch(module.hw, x) + cw + hc) / 3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def test_equals_the_form_with_permutations(layout: torch.memory_format) -> None:
    """Output and input gradient are those of the permuted form in either layout, which the output keeps."""
    module = randomise(Attention(kernel_size=3).double()).train()
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    w = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    got, expected = module(x), by_permutation(module, x)
    torch.testing.assert_close(got, expected)
    assert got.is_contiguous(memory_format=layout)
    (a,), (b,) = (torch.autograd.grad((y * w).sum(), x) for y in (got, expected))
    torch.testing.assert_close(a, b)


def test_hand_computed_single_value() -> None:
    """On a 1 x 1 x 1 map maximum = mean = x: with centre weights 1 and 2 the gates are sigmoid(3x)."""
    module = Attention(kernel_size=1).double().eval()
    with torch.no_grad():
        for gate in (module.cw, module.hc, module.hw):
            gate[0].weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
            gate[1].weight.fill_((1 + 1e-5) ** 0.5)  # undoes the epsilon of the norm
    x = torch.tensor([0.7], dtype=torch.float64).view(1, 1, 1, 1)
    torch.testing.assert_close(module(x), x * torch.sigmoid(3 * x))


def test_output_shrinks() -> None:
    """|y| < |x| wherever x is not 0 (claim triplet-shrinks)."""
    module = randomise(Attention().double())
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    assert (module(x).abs() < x.abs()).all()


def test_initialisation_of_the_official_networks() -> None:
    """g_hw starts at 1/2 everywhere, the other two norms at weight 1, all with momentum 0.01."""
    module = Attention().double()
    assert [gate[1].weight.item() for gate in (module.cw, module.hc, module.hw)] == [1, 1, 0]
    assert {gate[1].momentum for gate in (module.cw, module.hc, module.hw)} == {0.01}
    weights = module.hw(torch.randn(1, 2, 5, 5, dtype=torch.float64)).sigmoid()
    assert (weights == 0.5).all()
    assert Attention(zero_spatial=False).hw[1].weight.item() == 1


@pytest.mark.parametrize("kernel_size", [0, 4])
def test_refusals(kernel_size: int) -> None:
    """An even kernel would change the size of the maps."""
    with pytest.raises(ValueError, match="odd"):
        Attention(kernel_size=kernel_size)
