"""Own facts of strip pooling."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.attention.channel_spatial.spnet import Attention
from attncli.backbones.placement import find_placements
from attncli.backbones.placement_request import PlacementRequest
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"kernel_size": 5}, {"kernel_size": 1}]
FACTS: list[dict[str, Any]] = [{}, {"size": (1, 2)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """(2k + 1) C^2 + 5C."""
    c = facts["channels"]
    return (2 * options.get("kernel_size", 3) + 1) * c * c + 5 * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SPBlock(inplanes, outplanes, norm_layer), behind `spm.` or alone."""
    names = {"conv1": "column", "bn1": "bn_column", "conv2": "row", "bn2": "bn_row", "conv3": "mix"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.removeprefix("spm.").split(".")
        state[f"{names[layer]}.{leaf}"] = value
    c, _, k, _ = state["column.weight"].shape
    return Attention(c, kernel_size=k), state


def gate(module: nn.Module, x: Tensor) -> Tensor:
    """The gate itself, by y / x."""
    y: Tensor = module(x)
    return y / x.detach()


def test_gate_equals_official() -> None:
    """The gate is the official SPBlock's output, which leaves the product to its host."""
    data = np.load(shared("parity/spnet.npz"))
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith("param/")}
    module, state = official(json.loads(str(data["meta"])), params)
    module.double().eval().load_state_dict(state)
    torch.testing.assert_close(gate(module, torch.from_numpy(data["x"])), torch.from_numpy(data["gate"]))


def test_hand_computed_gate() -> None:
    """One channel, k = 1, all weights 1: the gate is sigmoid(relu(row mean + column mean) + 1)."""
    module = Attention(1, kernel_size=1).double().eval()
    with torch.no_grad():
        for conv in (module.column, module.row, module.mix):
            conv.weight.fill_(1)
        module.mix.bias.fill_(1)
        for norm in (module.bn_column, module.bn_row):
            norm.weight.fill_((1 + 1e-5) ** 0.5)  # undoes the epsilon
    x = torch.tensor([[1.0, 3.0], [-4.0, -2.0]], dtype=torch.float64).view(1, 1, 2, 2)
    rows, columns = torch.tensor([[2.0], [-3.0]]), torch.tensor([[-1.5, 0.5]])
    torch.testing.assert_close(module(x), x * torch.sigmoid((rows + columns).clamp(min=0).double() + 1))


def test_output_shrinks() -> None:
    """The gate lies in (0, 1), so |y| < |x| (claim spnet-gate)."""
    module = randomise(Attention(8).double())
    x = torch.randn(4, 8, 6, 5, dtype=torch.float64)
    assert (module(x).abs() < x.abs()).all()


def test_a_pixel_reaches_rows_and_columns_alone() -> None:
    """The gate changes on rows i-1..i+1 and columns j-1..j+1, nowhere else (claim spnet-long-range)."""
    module = randomise(Attention(4).double()).eval()
    nn.init.constant_(module.bn_column.bias, 50)  # keeps the ReLU open
    x = torch.rand(1, 4, 9, 8, dtype=torch.float64) + 0.5
    nn.init.constant_(module.mix.weight, 0.01)
    other = x.clone()
    other[0, 0, 4, 2] += 1e-3
    changed = (gate(module, x) != gate(module, other))[0].any(0)
    expected = torch.zeros(9, 8, dtype=torch.bool)
    expected[3:6] = True
    expected[:, 1:4] = True
    assert torch.equal(changed, expected)


def test_parameters_over_a_resnet50() -> None:
    """Widths 64, 128, 256 once and 512 three times add 6,117,056 parameters (claim spnet-params)."""
    count = {c: sum(p.numel() for p in Attention(c).parameters()) for c in (64, 128, 256, 512)}
    assert count[512] == 1837568
    assert sum(count.values()) + 2 * count[512] == 6117056


def test_placement_of_the_official_network() -> None:
    """All blocks of the last stage and the last one of the others: 1 + 1 + 1 + 2 in a ResNet-18."""
    net = backbones.load("resnet18")
    network = net.build("resnet18", 10, True)
    mechanism = attention.describe_mechanism("spnet")
    request = PlacementRequest(mechanism, mechanism.card.site, size=(32, 32), classes=10)
    placements = find_placements(network, net.find_structure(network), request)
    assert [(p.site_arguments["stage"], p.site_arguments["channels"]) for p in placements] == [
        (1, 64),
        (2, 128),
        (3, 256),
        *2 * [(4, 512)],
    ]


def test_initialisation_of_the_official_networks() -> None:
    """Convolutions have variance 2 / (k out), the 1x1 one 2 / out."""
    torch.manual_seed(0)
    module = Attention(128)
    assert module.row.weight.std().item() == pytest.approx((2 / 384) ** 0.5, rel=0.02)
    assert module.mix.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)


@pytest.mark.parametrize("kernel_size", [0, 2])
def test_refusals(kernel_size: int) -> None:
    """An even kernel would change the length of the strips."""
    with pytest.raises(ValueError, match="odd"):
        Attention(8, kernel_size=kernel_size)
