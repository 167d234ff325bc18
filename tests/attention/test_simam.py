"""Own facts of SimAM."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.simam import Attention

OPTIONS: list[dict[str, Any]] = [{}, {"e_lambda": 0.1}]
FACTS: list[dict[str, Any]] = [{}, {"size": (1, 1)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """None (claim simam-params)."""
    return 0


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """simam_module(channels=None, e_lambda=1e-4): the channels are not used."""
    ctor = meta.get("ctor") or meta.get("args") or {}
    return Attention(e_lambda=ctor.get("e_lambda", 1e-4)), params


def by_the_formula(x: Tensor, e_lambda: float) -> Tensor:
    """y by the energy, term for term: x * sigmoid(1 / e)."""
    d2 = (x - x.mean((2, 3), keepdim=True)) ** 2
    v = x.var((2, 3), keepdim=True)
    return x * torch.sigmoid((d2 + 2 * v + 2 * e_lambda) / (4 * (v + e_lambda)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def test_value_and_gradient_equal_the_formula(layout: torch.memory_format) -> None:
    """The written-out gradient is that of the formula, in either layout."""
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    w = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    got, expected = Attention(e_lambda=0.3)(x), by_the_formula(x, 0.3)
    torch.testing.assert_close(got, expected)
    assert got.is_contiguous(memory_format=layout)
    (a,), (b,) = (torch.autograd.grad((y * w).sum(), x) for y in (got, expected))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_hand_computed_channel() -> None:
    """For values 0, 0, 0, 4: mu = 1, v = 4, so with e_lambda = 1 the gates are sigmoid(0.5 + 9/20) where x is 4."""
    x = torch.tensor([0.0, 0.0, 0.0, 4.0], dtype=torch.float64).view(1, 1, 2, 2)
    y = Attention(e_lambda=1.0)(x).flatten()
    expected = torch.sigmoid(torch.tensor(0.5 + 9 / 20, dtype=torch.float64))
    torch.testing.assert_close(y, torch.tensor([0.0, 0.0, 0.0, 4 * expected], dtype=torch.float64))


def test_gate_range() -> None:
    """The gate lies in [sigmoid(1/2), 1) and ignores a constant added to a channel (claim simam-gate-range)."""
    module = Attention()
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    gate = module(x) / x
    assert gate.min() >= 0.6224
    assert gate.max() < 1
    c = torch.randn(8, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(module(x + c) / (x + c), gate)


def test_train_and_eval_are_equal() -> None:
    """The module has no state."""
    module, x = Attention(), torch.randn(2, 4, 5, 5)
    assert torch.equal(module.train()(x), module.eval()(x))


def test_one_by_one_map_is_finite() -> None:
    """On a 1 x 1 map the gate is sigmoid(1/2), not a division of 0 by 0."""
    x = torch.randn(2, 4, 1, 1, requires_grad=True)
    y = Attention()(x)
    torch.testing.assert_close(y, x * torch.sigmoid(torch.tensor(0.5)))
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_half_precision_keeps_its_statistics() -> None:
    """Squares that float16 cannot hold do not make the output infinite or wrong."""
    x = 300 * torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    y = Attention()(x)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.double(), by_the_formula(x.double(), 1e-4), rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("e_lambda", [0.0, -1.0])
def test_refusals(e_lambda: float) -> None:
    """e_lambda keeps a constant channel from dividing by 0."""
    with pytest.raises(ValueError, match="positive"):
        Attention(e_lambda=e_lambda)
