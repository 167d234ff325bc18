"""Own facts of self-attention (non-local block, SAGAN's form)."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention import pairwise_attention
from attncli.attention.pairwise_attention import attend_pairwise
from attncli.attention.self_attention.self_attention import Attention
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "sagan"},
    {"variant": "sagan", "sub_sample": "input"},
    {"reduction": 4},
    {"hidden": 20},
    {"sub_sample": "input"},
    {"sub_sample": "projection"},
    {"bn": False},
    {"scale": True},
    {"pairwise": "gaussian"},
    {"pairwise": "dot-product"},
    {"pairwise": "concatenation", "sub_sample": "input"},
]
FACTS = [{}, {"channels": 5, "size": (4, 6)}, {"channels": 8, "size": (18, 17)}]


def dead(options: dict[str, Any]) -> tuple[str, ...]:
    """The key's bias with a softmax, that of out before a norm, the value's with both."""
    has_softmax = options.get("pairwise", "embedded-gaussian") in ("embedded-gaussian", "gaussian")
    has_norm = options.get("bn", True) and options.get("variant") != "sagan"
    biases = {"key.bias": has_softmax, "out.bias": has_norm, "value.bias": has_softmax and has_norm}
    return tuple(name for name, is_dead in biases.items() if is_dead)


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3 (C C' + C') + C' C + C + 2 C, without 2 (C C' + C') if Gaussian, and 2 C' of concatenation.

    SAGAN: 2 (C C' + C') + C^2 + C + 1.
    """
    c = facts["channels"]
    sagan = options.get("variant") == "sagan"
    h = options.get("hidden") or max(c // options.get("reduction", 8 if sagan else 2), 1)
    if sagan:
        return 2 * (c * h + h) + c * c + c + 1
    pairwise = options.get("pairwise", "embedded-gaussian")
    compared = (0 if pairwise == "gaussian" else 2 * (c * h + h)) + (2 * h if pairwise == "concatenation" else 0)
    return compared + (c * h + h) + h * c + c + (2 * c if options.get("bn", True) else 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """NONLocalBlock2D (theta, phi, g, W) or SAGAN's Self_Attn (query_conv, key_conv, value_conv, gamma)."""
    if "gamma" in params:
        hidden, channels = params["query_conv.weight"].shape[:2]
        module = Attention(channels, variant="sagan", hidden=hidden)
        names = {"query_conv": "query", "key_conv": "key", "value_conv": "value"}
    else:
        hidden, channels = params["theta.weight"].shape[:2]
        pooled = "phi.0.weight" in params
        module = Attention(
            channels, hidden=hidden, bn="W.1.weight" in params, sub_sample="projection" if pooled else "none"
        )
        names = {"theta": "query", "phi": "key", "phi.0": "key", "g": "value", "g.0": "value"}
        names |= {"W": "out", "W.0": "out", "W.1": "norm"}
    state = {}
    for key, value in params.items():
        owner, _, leaf = key.rpartition(".")
        state[f"{names[owner]}.{leaf}" if owner else key] = value.flatten(1) if value.ndim == 4 else value
    return module, state


@pytest.mark.parametrize("name", ["self-attention", "self-attention-sagan"])
def test_attention_map_equals_the_official_one(name: str) -> None:
    """Rows are queries: the map, not its transpose, is that of the fixture."""
    meta, data, params = read(shared(f"parity/{name}.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    torch.testing.assert_close(module.position_affinity(data["x"]), data["attention"], rtol=1e-9, atol=1e-10)


def test_hand_computed_attention() -> None:
    """Two positions, one channel, q.k = (0, log 3): weights (1/4, 3/4) and values 4, 8 give 7."""
    q = torch.ones(1, 1, 1, dtype=torch.float64)
    k = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64).log()
    v = torch.tensor([[[4.0], [8.0]]], dtype=torch.float64)
    assert attend_pairwise(q, k, v, 1.0).item() == pytest.approx(7)
    assert attend_pairwise(q, k, v, 0.0).item() == pytest.approx(6)


@pytest.mark.parametrize("kept", [0, 1 << 28])
@pytest.mark.parametrize("width", [6, 11])
def test_both_ways_of_attending_agree(kept: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the map of all pairs or without it, values of any width: what the formula gives, gradients too."""
    monkeypatch.setattr(pairwise_attention, "KEPT_BYTES", kept)
    q, k, v = (torch.randn(2, 65, c, dtype=torch.float64, requires_grad=True) for c in (6, 6, width))
    plain = (q @ k.transpose(1, 2) * 0.5).softmax(-1) @ v
    fused = attend_pairwise(q, k, v, 0.5)
    torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (plain, fused)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_cost_is_quadratic_in_positions() -> None:
    """The attention at 28x28 costs 16 times that at 14x14 (claim sa-quadratic)."""

    def flops(side: int) -> int:
        tokens = torch.zeros(1, side**2, 8)
        with FlopCounterMode(display=False) as counter:
            attend_pairwise(tokens, tokens, tokens, 1.0)
        return counter.get_total_flops()

    assert flops(28) == 16 * flops(14) > 0


@pytest.mark.parametrize("sub_sample", ["none", "input", "projection"])
@pytest.mark.parametrize("pairwise", ["embedded-gaussian", "gaussian", "dot-product", "concatenation"])
def test_pairwise_functions(pairwise: Any, sub_sample: Any) -> None:
    """Each position pair by pair, by the formulas of the paper's Section 3.2 (claim sa-pairwise)."""
    module = randomise(Attention(4, pairwise=pairwise, sub_sample=sub_sample).double()).eval()
    x = torch.randn(2, 4, 4, 2, dtype=torch.float64)
    small = F.max_pool2d(x, 2) if sub_sample == "input" else x

    def embed(layer: nn.Linear | None, t: Tensor) -> Tensor:
        if layer is None:
            return t
        return torch.einsum("oc,nchw->nohw", layer.weight, t) + layer.bias[:, None, None]

    def pool(t: Tensor) -> Tensor:
        return F.max_pool2d(t, 2) if sub_sample == "projection" else t

    q = embed(module.query, x).flatten(2)
    k, g = (pool(embed(layer, small)).flatten(2) for layer in (module.key, module.value))
    f = torch.zeros(2, q.shape[2], k.shape[2], dtype=torch.float64)
    for n, i, j in itertools.product(*map(range, f.shape)):
        product = q[n, :, i] @ k[n, :, j]
        if pairwise == "concatenation":
            f[n, i, j] = (module.joint.weight[0] @ torch.cat([q[n, :, i], k[n, :, j]])).relu()
        else:
            f[n, i, j] = product if pairwise == "dot-product" else product.exp()
    a = f / (f.sum(2, keepdim=True) if "gaussian" in pairwise else f.shape[2])
    torch.testing.assert_close(module.position_affinity(x), a)
    y = torch.einsum("nij,ncj->nci", a, g).unflatten(2, (4, 2))
    expected = x + module.norm(embed(module.out, y))
    torch.testing.assert_close(module(x), expected)
    (seen,) = module.observe((x,), expected)
    torch.testing.assert_close(seen.values.sum(2), a.any(2).double())  # 1, or 0 of a position that takes nothing


@pytest.mark.parametrize("pairwise", ["gaussian", "dot-product", "concatenation"])
def test_every_pairwise_function_starts_as_the_identity(pairwise: Any) -> None:
    """The norm's weight is 0 whatever compares the positions; only the numbers of W_q, W_k and w_f differ."""
    x = torch.randn(3, 8, 5, 4)
    assert torch.equal(Attention(8, pairwise=pairwise).train()(x), x)
    with torch.device("meta"):
        counts = sum(p.numel() for p in Attention(1024, pairwise=pairwise).parameters())
    assert counts == {"gaussian": 1_052_160, "dot-product": 2_101_760, "concatenation": 2_102_784}[pairwise]


@pytest.mark.parametrize("options", [{}, {"variant": "sagan"}, {"bn": False}], ids=str)
def test_starts_as_the_identity(options: dict[str, Any]) -> None:
    """In training and in evaluation a fresh block returns its input (claim sa-identity)."""
    x = torch.randn(3, 8, 5, 4)
    module = Attention(8, **options)
    assert torch.equal(module.train()(x), x)
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("variant", ["non-local", "sagan"])
def test_permuting_positions_permutes_the_output(variant: Any) -> None:
    """There is no position encoding (claim sa-equivariant)."""
    module = randomise(Attention(8, variant=variant).double()).eval()
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(moved), module(x).flatten(2)[:, :, order].view_as(x))


def test_orders_of_sub_sampling_differ() -> None:
    """Pooling before and after the convolutions are different maps; with non-negative weights they agree."""
    before, after = (Attention(4, sub_sample=order, bn=False).double() for order in ("input", "projection"))
    randomise(before)
    after.load_state_dict(before.state_dict())
    x = torch.randn(1, 4, 4, 4, dtype=torch.float64)
    assert not torch.allclose(before(x), after(x))
    for module in (before, after):
        module.key.weight.data = module.value.weight.data = torch.eye(4, dtype=torch.float64)[:2]
    torch.testing.assert_close(before(x), after(x))
    assert before.position_affinity(x).shape == (1, 16, 4)


def test_scale_divides_the_products() -> None:
    """With `scale` the logits are those without, divided by sqrt(C')."""
    plain, scaled = Attention(8, hidden=4).double(), Attention(8, hidden=4, scale=True).double()
    randomise(plain)
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(scaled.position_affinity(x), F.softmax(plain.position_affinity(x).log() / 2, -1))


def test_bf16_keeps_to_the_exact_map() -> None:
    """Under bf16 autocast a block away from the identity stays within 5 % of float64."""
    module = randomise(Attention(16, scale=True)).eval()
    x = torch.randn(2, 16, 6, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = module(x.bfloat16())
    exact = module.double()(x.bfloat16().double())
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).abs().max() / exact.abs().max() < 0.05


def test_parameters_of_the_card() -> None:
    """C = 1024: 2,101,760; C = 512: 526,592; two and three of them: 7,358,464."""
    with torch.device("meta"):
        counts = [sum(p.numel() for p in Attention(c).parameters()) for c in (512, 1024)]
    assert counts == [526_592, 2_101_760]
    assert 2 * counts[0] + 3 * counts[1] == 7_358_464


def test_refusals() -> None:
    """Widths must be positive, names known, and a map to sub-sample at least 2x2."""
    for options in (
        {"reduction": 0}, {"hidden": 0}, {"variant": "local"}, {"sub_sample": "yes"}, {"pairwise": "softmax"},
        {"pairwise": "gaussian", "variant": "sagan"}, {"pairwise": "dot-product", "scale": True},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            Attention(8, **options)
    with pytest.raises(ValueError, match="2x2"):
        Attention(8, sub_sample="input")(torch.randn(1, 8, 1, 4))
