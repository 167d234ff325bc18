"""Own facts of external attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention.pairwise_attention import attend_pairwise
from attncli.attention.self_attention.external import Attention
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [{}, {"memory": 16}, {"wrapper": "none"}, {"eps": 1e-6}]
FACTS = [{}, {"channels": 5, "size": (2, 3)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C^2 + 3 C + 2 S C; the bare attention 2 S C."""
    c = facts["channels"]
    memories = 2 * options.get("memory", 64) * c
    return memories + (2 * c * c + 3 * c if options.get("wrapper") != "none" else 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """External_attention: conv1, linear_0, linear_1, conv2.0, conv2.1."""
    memory, channels, _ = params["linear_0.weight"].shape
    state = {
        "inner.weight": params["conv1.weight"].flatten(1),
        "inner.bias": params["conv1.bias"],
        "keys": params["linear_0.weight"].squeeze(2),
        "values": params["linear_1.weight"].squeeze(2).T,
        "outer.weight": params["conv2.0.weight"].flatten(1),
    }
    norm = {key.replace("conv2.1", "norm"): value for key, value in params.items() if key.startswith("conv2.1.")}
    return Attention(channels, memory=memory), state | norm


def test_attention_equals_the_official_one() -> None:
    """After both normalisations; the fixture has the memory before the positions."""
    meta, data, params = read(shared("parity/external.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    a = module.memory_affinity(data["x"]).transpose(1, 2)
    torch.testing.assert_close(a, data["attention"], rtol=1e-9, atol=1e-10)


def test_hand_computed_double_normalisation() -> None:
    """Two positions, two units, logits ((0, 0), (log 3, 0)): columns (1/4, 3/4), (1/2, 1/2), then rows."""
    module = Attention(2, memory=2, wrapper="none").double()
    module.keys.data = torch.eye(2, dtype=torch.float64)
    logits = torch.tensor([[1.0, 1.0], [3.0, 1.0]], dtype=torch.float64).log()
    a = module.memory_affinity(logits.T.reshape(1, 2, 2, 1))
    expected = torch.tensor([[[1 / 3, 2 / 3], [3 / 5, 2 / 5]]], dtype=torch.float64)
    torch.testing.assert_close(a, expected, rtol=1e-8, atol=0)


def test_rows_sum_to_one() -> None:
    """Double normalisation: what a position takes from the memory sums to 1 (claim ea-doublenorm)."""
    module = randomise(Attention(6).double())
    rows = module.memory_affinity(torch.randn(2, 6, 5, 4, dtype=torch.float64)).sum(2)
    torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-6)


def test_a_long_feature_does_not_take_one_unit_alone() -> None:
    """A softmax over units turns one-hot where a feature is long; after double normalisation it does not.

    That is why the paper takes two normalisations (claim ea-doublenorm).
    """
    module = randomise(Attention(16, memory=32, wrapper="none").double())
    x = torch.randn(1, 16, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[..., 0, 0] *= 100
    plain = (x.flatten(2).transpose(1, 2) @ module.keys.T).softmax(2)[0, 0]
    assert plain.max() > 0.99
    assert module.memory_affinity(x)[0, 0].max() < 0.2


def test_scale_of_one_feature_is_tamed() -> None:
    """Without wrapper, adding a constant to a channel changes nothing: the softmax runs over positions."""
    module = randomise(Attention(6, wrapper="none").double())
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x + 7), module(x))


def test_core_is_two_memories_of_any_size() -> None:
    """The attention itself is two S x C tensors (claims ea-two-linear, ea-dataset)."""
    for memory in (3, 64):
        shapes = [tuple(p.shape) for p in Attention(10, memory=memory, wrapper="none").parameters()]
        assert shapes == [(memory, 10)] * 2


def test_memories_start_equal_and_apart() -> None:
    """They start equal, with deviation sqrt(2 / C), and are two parameters."""
    module = Attention(128)
    assert torch.equal(module.keys, module.values)
    assert module.keys.data_ptr() != module.values.data_ptr()
    assert module.keys.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def flops(side: int, memory: int | None) -> int:
    """Operations of the attention alone on a square map of 32 channels; memory None: self-attention."""
    module = Attention(32, memory=memory or 1, wrapper="none")
    tokens = torch.zeros(1, side**2, 32)
    with FlopCounterMode(display=False) as counter:
        if memory is None:
            attend_pairwise(tokens, tokens, tokens, 1.0)
        else:
            module(torch.zeros(1, 32, side, side))
    return counter.get_total_flops()


def test_cost_is_linear_and_below_that_of_self_attention() -> None:
    """Four times the positions cost four times as much (ea-linear), less than self-attention (ea-cheaper)."""
    assert flops(28, 64) == 4 * flops(14, 64) > 0
    assert flops(28, 64) < flops(28, None)


def test_parameters_of_the_card() -> None:
    """C = 512, S = 64: 591,360."""
    with torch.device("meta"):
        assert sum(p.numel() for p in Attention(512).parameters()) == 591_360


def test_refusals() -> None:
    """Memory and eps must be positive, the wrapper a known one."""
    for options in ({"memory": 0}, {"eps": 0.0}, {"wrapper": "conv"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Attention(8, **options)
