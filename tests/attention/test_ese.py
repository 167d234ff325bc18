"""Own facts of effective squeeze-excitation."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel import se
from attncli.attention.channel.ese import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"gate": "sigmoid"}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C^2 + C."""
    return facts["channels"] * (facts["channels"] + 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """eSEModule(channel): fc."""
    state = {"layer.weight": params["fc.weight"].flatten(1), "layer.bias": params["fc.bias"]}
    return Attention(meta["ctor"]["channel"]), state


def test_flat_ends_of_the_gate() -> None:
    """A logit of 3 or more passes the channel, one of -3 or less shuts it, 0 halves it (claim ese-flat)."""
    module = Attention(3).double()
    nn.init.zeros_(module.layer.weight)
    module.layer.bias.data = torch.tensor([3.5, -3.0, 0.0], dtype=torch.float64)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(module(x), x * torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)[:, None, None])


def test_plain_sigmoid_is_a_full_layer_of_se() -> None:
    """gate=sigmoid equals se with layers=full and a bias."""
    module, full = randomise(Attention(8, gate="sigmoid").double()), se.Attention(8, layers="full", bias=True).double()
    full.load_state_dict({k.replace("layer", "expand"): v for k, v in module.state_dict().items()})
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(module(x), full(x))


def test_unknown_gate_is_refused() -> None:
    """Two are known."""
    with pytest.raises(ValueError, match="gate"):
        Attention(8, gate="relu")
