"""Own facts of the bilinear attentional transform."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.self_attention.bat import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4, "cells": 3},
    {"groups": 2, "dropout": 0.0},
]
FACTS = [{"size": (12, 6)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C i + 3 i, i g + 3 g, 2 s^2 g (g s + 1), i^2 + 3 i, i C + 3 C."""
    c, (height, width) = facts["channels"], facts["size"]
    i = max(c // options.get("reduction", 2), 1)
    s = max(s for s in range(1, options.get("cells", 7) + 1) if height % s == width % s == 0)
    g = max(g for g in range(1, options.get("groups", 4) + 1) if i % g == 0)
    return c * i + 3 * i + i * g + 3 * g + 2 * s * s * g * (g * s + 1) + i * i + 3 * i + i * c + 3 * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """BATBlock(in_channels, r, s, k, dropout): conv1, batransform.{conv1, conv_p, conv_q, conv2}, conv2."""
    ctor = meta["ctor"]
    names = {"conv1": "reduce", "batransform.conv1": "group", "batransform.conv_p": "rows"}
    names |= {"batransform.conv_q": "columns", "batransform.conv2": "mix", "conv2": "expand"}
    state = {}
    for name, value in params.items():
        theirs = max((n for n in names if name.startswith(n + ".")), key=len)
        state[names[theirs] + name.removeprefix(theirs)] = value
    module = Attention(
        ctor["in_channels"],
        tuple(meta["input_shape"][2:]),
        reduction=ctor["r"],
        cells=ctor["s"],
        groups=ctor["k"],
        dropout=ctor["dropout"],
    )
    return module, state


def test_matrices_are_stochastic() -> None:
    """Rows of P and columns of Q are positive and sum to 1 (claim bat-stochastic)."""
    module = randomise(Attention(16, (6, 9)).double()).eval()
    p, q = module.compute_matrices(torch.rand(2, 8, 6, 9, dtype=torch.float64))
    assert p.shape == q.shape == (2, 4, 3, 3)
    assert min(p.min(), q.min()) > 0
    torch.testing.assert_close(p.sum(3), torch.ones(2, 4, 3, dtype=torch.float64))
    torch.testing.assert_close(q.sum(2), torch.ones(2, 4, 3, dtype=torch.float64))


def test_constant_channels_stay_constant() -> None:
    """Because of these sums (claim bat-constant)."""
    module = randomise(Attention(16, (6, 6)).double()).eval()
    u = torch.rand(2, 8, 1, 1, dtype=torch.float64).expand(2, 8, 6, 6)
    torch.testing.assert_close(module.transform(u, *module.compute_matrices(u)), u)


def test_transform_is_two_kronecker_products() -> None:
    """(P x I) U (Q x I), with the identity of a cell's size, which may differ in height and width."""
    module = Attention(8, (4, 6), groups=2).double()
    p, q = torch.rand(2, 1, 2, 2, 2, dtype=torch.float64)
    u = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    y = module.transform(u, p, q)
    for channel in range(4):
        left = torch.kron(p[0, channel // 2], torch.eye(2, dtype=torch.float64))
        right = torch.kron(q[0, channel // 2], torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(y[0, channel], left @ u[0, channel] @ right)


@pytest.mark.parametrize(("size", "cells"), [((28, 28), 7), ((14, 14), 7), ((16, 16), 4), ((8, 8), 4), ((9, 7), 1)])
def test_cells_divide_the_map(size: tuple[int, int], cells: int) -> None:
    """The largest common divisor up to 7."""
    assert Attention(8, size).cells == cells


def test_dropout_drops_whole_channels() -> None:
    """In training, about a fifth of the added channels is zero; in eval none."""
    module = randomise(Attention(64, (4, 4)).double())
    nn.init.ones_(module.expand[1].bias)
    x = torch.randn(8, 64, 4, 4, dtype=torch.float64)
    unchanged = (module(x) == x).flatten(2).all(2)
    assert 0.1 < unchanged.double().mean() < 0.35
    assert not (module.eval()(x) == x).flatten(2).all(2).all()


def test_refusals() -> None:
    """Widths, a share, and maps that the cells do not divide."""
    for options in ({"reduction": 0}, {"cells": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Attention(8, (4, 4), **options)
    with pytest.raises(ValueError, match="4 cells a side do not divide a map of 6x4"):
        Attention(8, (4, 4))(torch.randn(1, 8, 6, 4))
