"""Own facts of normalization-based attention."""

from typing import Any

import torch
from torch import Tensor, nn

from attncli.attention.channel.nam import Attention
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"weight_gradient": True}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C."""
    return 2 * facts["channels"]


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Channel_Att(channels): bn2."""
    return Attention(meta["ctor"]["channels"]), {k.replace("bn2", "norm"): v for k, v in params.items()}


def test_weights_are_positive_and_sum_to_one() -> None:
    """Whatever the signs of gamma (claim nam-weights)."""
    module = Attention(4).double()
    module.norm.weight.data = torch.tensor([-1.0, 2.0, 3.0, -4.0], dtype=torch.float64)
    torch.testing.assert_close(module.channel_weights(), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))


def test_starts_near_one_half() -> None:
    """To within a quarter of max |BN(x)| / C (claim nam-start)."""
    module = Attention(64).double()
    x = torch.randn(4, 64, 5, 5, dtype=torch.float64)
    u = module.norm(x)
    assert (module(x) / x - 0.5).abs().max() <= 0.25 * u.abs().max() / 64


def test_gradient_of_gamma_is_the_official_one() -> None:
    """It passes through the norm only; with weight_gradient it is another."""
    meta, data, params = read(shared("parity-more/nam.npz"))
    grads = []
    for through in (False, True):
        module = Attention(meta["ctor"]["channels"], weight_gradient=through).double().eval()
        module.load_state_dict(official(meta, params)[1])
        (module(data["x"]) * data["w"]).sum().backward()
        grads.append(module.norm.weight.grad)
    torch.testing.assert_close(grads[0], data["grad/bn2.weight"], rtol=0, atol=1e-9)
    assert not torch.allclose(grads[1], grads[0])


def test_uneven_gamma_moves_the_gate() -> None:
    """One large gamma of many: that channel's gate is the sigmoid of its normalised values."""
    module = randomise(Attention(8).double()).eval()
    with torch.no_grad():
        module.norm.weight.zero_()
        module.norm.weight[2] = 5
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    g = module(x) / x
    torch.testing.assert_close(g[:, 2], module.norm(x)[:, 2].sigmoid())
    torch.testing.assert_close(g[:, 0], torch.full_like(g[:, 0], 0.5))
