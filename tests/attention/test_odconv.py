"""Own facts of omni-dimensional dynamic convolution."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import model
from attncli.attention.branch.odconv import Attention
from attncli.recipe import read
from tests.attention.case import randomise
from tests.attention.test_condconv import single

OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_kernels": 4},
    {"reduction": 0.5, "min_hidden": 4},
    {"kernel": 5},
    {"kernel": 1},
    {"num_kernels": 2, "tau_start": 10.0, "tau_end": 2.0, "tau_anneal_epochs": 3},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "groups": 4}, {"groups": 32}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C_in m + 2 m; a layer from m to each gate; K k^2 C_in C / g."""
    c, c_in, g, k = facts["channels"], facts["channels_in"], facts["groups"], options.get("num_kernels", 1)
    k2, m = (
        options.get("kernel", 3) ** 2,
        max(int(c_in * options.get("reduction", 0.0625)), options.get("min_hidden", 16)),
    )
    gates = c_in + (c if not g == c_in == c else 0) + (k2 if k2 > 1 else 0) + (k if k > 1 else 0)
    return c_in * m + 2 * m + (m + 1) * gates + k * k2 * c_in * c // g


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """ODConv2d: weight, attention.fc, attention.bn, attention.channel_fc and so on."""
    ctor = meta["ctor"]
    k, c, width, side, _ = params["weight"].shape
    module = Attention(
        c,
        width * ctor["groups"],
        single(ctor["stride"]),
        ctor["groups"],
        num_kernels=k,
        reduction=ctor["reduction"],
        min_hidden=params["attention.fc.weight"].shape[0],
        kernel=side,
        tau_start=ctor["temperature"],
        tau_end=ctor["temperature"],
    )
    state = {"weight": params["weight"].flatten(2), "temperature": module.temperature}
    for name, value in params.items():
        if name == "weight":
            continue
        layer, leaf = name.removeprefix("attention.").split(".")
        ours = {"fc": "reduce", "bn": "norm"}.get(layer) or f"gates.{layer.removesuffix('_fc')}"
        state[f"{ours}.{leaf}"] = value.flatten(1) if value.ndim == 4 else value
    return module, state


def test_gates_are_those_of_the_kernel() -> None:
    """Weighing x and y equals weighing each sample's kernel along all axes (claim odconv-linear)."""
    module = randomise(Attention(6, 4, num_kernels=3).double()).eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    gates = module.compute_gates(x)
    assert list(gates) == ["channel", "filter", "spatial", "kernel"]
    kernels = module.weight.unflatten(2, (4, 9))
    order = [gates[name] for name in ("kernel", "spatial", "channel", "filter")]
    weights = torch.einsum("kocs,nk,ns,nc,no->nocs", kernels, *order)
    expected = [F.conv2d(x[i : i + 1], weights[i].unflatten(2, (3, 3)), padding=1) for i in range(2)]
    torch.testing.assert_close(module(x), torch.cat(expected))


def test_formula_of_the_gates() -> None:
    """Of z, which a ReLU cuts at 0, and tau: 15.5 in the middle of the schedule. Only the kernels compete."""
    module = randomise(Attention(6, 4, num_kernels=3).double()).eval()
    module.anneal(5)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    reduced = module.norm(x.mean((2, 3)) @ module.reduce.weight.T)
    assert (reduced < 0).any()
    for name, gate in module.compute_gates(x).items():
        layer = module.gates[name]
        logits = (reduced.clamp(min=0) @ layer.weight.T + layer.bias) / 15.5
        expected = logits.exp() / logits.exp().sum(1, keepdim=True) if name == "kernel" else 1 / (1 + (-logits).exp())
        torch.testing.assert_close(gate, expected)


def test_equal_kernels_are_one() -> None:
    """Four equal kernels give what one gives (claim odconv-equal-kernels)."""
    four, one = randomise(Attention(6, 4, num_kernels=4).double()).eval(), Attention(6, 4).double().eval()
    state = {k: v for k, v in four.state_dict().items() if not k.startswith("gates.kernel")}
    one.load_state_dict(state | {"weight": four.weight[:1]})
    with torch.no_grad():
        four.weight.copy_(four.weight[:1].expand_as(four.weight))
    one.temperature.copy_(four.temperature)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(four(x), one(x))


def test_temperature_falls_only_where_kernels_are_chosen() -> None:
    """30 to 1 over ten epochs with four kernels, and 1 from then on; 1 from the start with one."""
    four, one = Attention(4, 4, num_kernels=4), Attention(4, 4)
    seen = []
    for epoch in (0, 5, 10, 30):
        four.anneal(epoch)
        one.anneal(epoch)
        seen.append((four.temperature.item(), one.temperature.item()))
    assert seen == [(30, 1), (15.5, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize(("kernels", "total"), [(1, 28_635_112), (4, 90_670_888)])
def test_all_convolutions_of_resnet50(kernels: int, total: int) -> None:
    """With the branches' 1x1 convolutions replaced too, ResNet-50 has the published parameters (odconv-params)."""
    values = {"model.backbone": "resnet50", "model.attn": "odconv", "model.site": "branch-convs"}
    recipe = read(values=values | {"model.options": {"num_kernels": kernels}})
    with torch.device("meta"):
        net = model.build(recipe, model.InputSpec(1000, (224, 224)))
    assert sum(p.numel() for p in net.parameters()) == total


@pytest.mark.parametrize(
    ("options", "word"),
    [({"num_kernels": 0}, "num_kernels"), ({"kernel": 2}, "odd"), ({"tau_end": 0.0}, "tau"), ({"groups": 3}, "groups")],
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, **options)
