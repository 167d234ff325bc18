"""Own facts of polarized self-attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.polarized import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"form": "s"}, {"query_softmax": True}, {"form": "s", "min_hidden": 2}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C^2 + C; form s: W_3 and W_4 with d units in place of C^2 / 2."""
    c = facts["channels"]
    d = max(c // 8, options.get("min_hidden", 4))
    out = c * d // 2 + d + 2 * d + c * d + c if options.get("form") == "s" else c * c // 2
    return c + 3 * c * c // 2 + out


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """PSA_p and PSA_s: conv_q_right, conv_v_right, conv_up, conv_q_left, conv_v_left."""
    form = meta["cls"][-1]
    names = {
        "conv_q_right": "channel_query",
        "conv_v_right": "channel_value",
        "conv_up": "channel_out",
        "conv_q_left": "spatial_query",
        "conv_v_left": "spatial_value",
    }
    state = {}
    for name, value in params.items():
        layer, _, rest = name.partition(".")
        state[f"{names[layer]}.{rest}"] = value.flatten(1) if value.ndim == 4 else value.flatten()
    return Attention(meta["ctor"]["inplanes"], form=form, min_hidden=1), state


def test_spatial_gate_of_the_parallel_form() -> None:
    """Its logits sum to 1 over the positions: 0.5 to 0.731 (claims polarized-softmax, polarized-spatial-range)."""
    m = randomise(Attention(16).double()).compute_spatial_gate(torch.randn(3, 16, 4, 5, dtype=torch.float64))
    assert m.min() > 0.5
    assert m.max() <= torch.ones((), dtype=torch.float64).sigmoid()
    torch.testing.assert_close(m.logit().sum((1, 2, 3)), torch.ones(3, dtype=torch.float64))


def test_sequential_form_gates_the_gated_map() -> None:
    """y = x' m_p(x') with x' = x m_c(x)."""
    module = randomise(Attention(8, form="s").double())
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    first = x * module.compute_channel_gate(x)[:, :, None, None]
    torch.testing.assert_close(module(x), first * module.compute_spatial_gate(first))


def test_parallel_form_sums_two_gated_maps() -> None:
    """y = x m_c(x) + x m_p(x)."""
    module = randomise(Attention(8).double())
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    expected = x * module.compute_channel_gate(x)[:, :, None, None] + x * module.compute_spatial_gate(x)
    torch.testing.assert_close(module(x), expected)


def test_query_softmax_follows_the_paper() -> None:
    """The pooled query is a distribution over its channels: adding a constant to it changes nothing."""
    module = randomise(Attention(8, query_softmax=True).double())
    x = torch.rand(1, 8, 3, 3, dtype=torch.float64)
    before = module.compute_spatial_gate(x)
    with torch.no_grad():
        module.spatial_query.weight += 1 / x.mean((2, 3)).sum()  # adds 1 to every entry of the pooled query
    torch.testing.assert_close(module.compute_spatial_gate(x), before)


def test_refusals() -> None:
    """Two forms, at least one unit."""
    for options in ({"form": "x"}, {"min_hidden": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Attention(8, **options)
