"""Own facts of criss-cross attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.self_attention.criss_cross import Attention
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"recurrence": 1}, {"reduction": 4, "recurrence": 3}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 (C n + n) + C^2 + C + 1, n = C / r."""
    c = facts["channels"]
    n = c // options.get("reduction", 8)
    return 2 * (c * n + n) + c * c + c + 1


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """CrissCrossAttention(in_dim), one pass: query_conv, key_conv, value_conv, gamma."""
    c = meta["ctor"]["in_dim"]
    state = {name.replace("_conv", ""): v.flatten(1) if v.ndim == 4 else v for name, v in params.items()}
    return Attention(c, reduction=c // params["query_conv.bias"].numel(), recurrence=1), state


def test_two_passes_of_the_fixture() -> None:
    """The same weights twice: output and gradient of the official class applied to its own output."""
    meta, data, params = read(shared("parity-more/criss-cross.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    module.recurrence = 2
    x = data["x"].requires_grad_()
    y = module(x)
    torch.testing.assert_close(y, data["y_twice"], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad((y * data["w"]).sum(), x)[0], data["grad_x_twice"], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("recurrence", "reached"), [(1, 5 + 4 - 1), (2, 20)])
def test_reach(recurrence: int, reached: int) -> None:
    """One pass sees the row and the column, two see all of the map (claim criss-cross-cross)."""
    module = randomise(Attention(8, recurrence=recurrence).double())
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 2, 1].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert seen.sum() == reached
    assert seen[2].all()
    assert seen[:, 1].all()


def test_the_position_itself_counts_once() -> None:
    """Weights of row and column sum to 1, and the column leaves the position out."""
    by_column, by_row = randomise(Attention(8).double()).weigh_cross(torch.randn(2, 8, 3, 4, dtype=torch.float64))
    total = by_column.sum(3) + by_row.sum(3)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert (by_column.diagonal(dim1=1, dim2=3) == 0).all()
    assert (by_row > 0).all()


def test_observed_affinity_is_the_cross() -> None:
    """A row sums to 1 and is zero off the query's row and column."""
    module = randomise(Attention(8).double())
    x = torch.randn(1, 8, 3, 4, dtype=torch.float64)
    (seen,) = module.observe((x,), x)
    a = seen.values.view(3, 4, 3, 4)
    torch.testing.assert_close(a.sum((2, 3)), torch.ones(3, 4, dtype=torch.float64))
    assert a[1, 2, 0, 0] == 0 < a[1, 2, 0, 2]
    by_column, by_row = module.weigh_cross(x)
    assert a[1, 2, 0, 2] == by_column[0, 1, 2, 0]
    assert a[1, 2, 1, 3] == by_row[0, 1, 2, 3]


@pytest.mark.parametrize("option", ["reduction", "recurrence"])
def test_refusals(option: str) -> None:
    """Both are at least 1."""
    with pytest.raises(ValueError, match="at least 1"):
        Attention(8, **{option: 0})
