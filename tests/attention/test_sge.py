"""Own facts of spatial group-wise enhance."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.spatial.sge import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"groups": 8}, {"groups": 12, "start_bias": 0.0}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 G, G the largest divisor of C up to 64."""
    return 2 * max(g for g in range(1, options.get("groups", 64) + 1) if facts["channels"] % g == 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SpatialGroupEnhance(groups): weight, bias; the width is that of the input."""
    return Attention(meta["input_shape"][1], groups=meta["ctor"]["groups"]), {k: v[0] for k, v in params.items()}


def test_starts_as_a_constant_factor() -> None:
    """y = sigmoid(1) x, also on one position, where the deviation is not defined (claim sge-start)."""
    start = torch.ones((), dtype=torch.float64).sigmoid()
    for size in ((5, 4), (1, 1)):
        x = torch.randn(2, 16, *size, dtype=torch.float64)
        torch.testing.assert_close(Attention(16).double()(x), start * x, rtol=0, atol=1e-12)


def test_a_group_does_not_see_the_others() -> None:
    """Changing a channel changes its own group only (claim sge-groups)."""
    module = randomise(Attention(8, groups=4).double())
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    changed = x.clone()
    changed[:, 0] = torch.randn(4, 4, dtype=torch.float64)
    differs = (module(x) != module(changed)).any(-1).any(-1)[0].tolist()
    assert differs == [True, True] + [False] * 6


def test_gate_ignores_the_scale() -> None:
    """Standardised: gate(2x) is gate(x), but for the 1e-5 (claim sge-scale)."""
    module = randomise(Attention(8, groups=2).double())
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(module(2 * x) / (2 * x), module(x) / x, rtol=1e-4, atol=0)


def test_a_constant_map_trains() -> None:
    """The deviation of equal values is 0; the gradient stays finite."""
    x = torch.ones(1, 4, 3, 3, requires_grad=True)
    randomise(Attention(4)).float()(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_hand_computed_gate() -> None:
    """One channel, values 1 and 3: products with the mean 2 and 6, standardised to -+ 1/sqrt(2)."""
    module = Attention(1, groups=1, start_bias=0.0).double()
    nn.init.ones_(module.weight)
    x = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 1, 1, 2)
    t = torch.tensor([-2.0, 2.0], dtype=torch.float64) / (8**0.5 + 1e-5)
    torch.testing.assert_close(module(x).flatten(), x.flatten() * t.sigmoid())


def test_no_group_is_refused() -> None:
    """At least one."""
    with pytest.raises(ValueError, match="at least 1"):
        Attention(8, groups=0)
