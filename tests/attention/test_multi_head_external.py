"""Own facts of multi-head external attention and EAMLP."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from attncli.attention.self_attention.multi_head_external import (
    Attention,
    ExternalAttentionBlock,
    MultiHeadExternal,
    normalize_twice,
    sinusoidal_positions,
)
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "eamlp-7", "depth": 1},
    {"dim": 32, "depth": 2},
    *(
        {"depth": 1} | option
        for option in (
            {"num_heads": 2},
            {"mlp_ratio": 1.5},
            {"strides": (1, 2, 2)},
            {"strides": (2, 2, 1)},
            {"coef": 2},
            {"memory": 16},
            {"shared": False},
            {"token_dim": 16},
            {"token_drop": 0.0},
            {"attn_drop": 0.1},
            {"proj_drop": 0.1},
        )
    ),
    {"depth": 2, "drop_path": 0.2},
]
FACTS: list[dict[str, Any]] = [
    {"size": (8, 8), "channels_in": 1},
    {"size": (28, 24), "channels_in": 3},
]


def attention_parameters(d: int, h: int, coef: int = 4, s: int = 64, shared: bool = True) -> int:
    """4d^2 + 4d + (d/h) S + S + S (d/h) + d/h + 4d^2 + d, memories once or once a head."""
    memories = 2 * s * (d // h) + s + d // h
    return 2 * coef * d * d + coef * d + d + memories * (1 if shared else coef * h)


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Two token modules, projection, blocks, class token, norm and head."""
    c, k, small = facts["channels_in"], facts["classes"], facts["size"][0] == 8
    d, depth, h, ratio = (64, 4, 4, 2.0) if small else (128, 7, 4, 2.0)
    if "variant" in options:
        d, depth, h, ratio = 256, 7, 4, 2.0
    d, depth, h = options.get("dim", d), options.get("depth", depth), options.get("num_heads", h)
    ratio, w = options.get("mlp_ratio", ratio), options.get("token_dim", 64)

    def linear(a: int, b: int) -> int:
        return a * b + b

    def token(patch: int) -> int:
        return 2 * patch + linear(patch, w) + 128 * w + linear(128, w) + linear(w, w) + 2 * w + 2 * linear(w, w)

    hidden = int(d * ratio)
    attention = attention_parameters(
        d, h, options.get("coef", 4), options.get("memory", 64), options.get("shared", True)
    )
    block = 4 * d + attention + linear(d, hidden) + linear(hidden, d)
    return token(9 * c) + token(9 * w) + linear(9 * w, d) + d + depth * block + 2 * d + linear(d, k)


NAMES = (("trans_dims.", "expand."), ("linear_0.", "keys."), ("linear_1.", "values."), ("proj.", "project."))


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Attention(dim, num_heads, qkv_bias, qk_scale, attn_drop, proj_drop) of EAMLP; the middle two do nothing."""
    args = meta.get("ctor") or meta["args"]
    d = args["dim"]
    module = MultiHeadExternal(
        d,
        args.get("num_heads", 8),
        coef=params["trans_dims.weight"].shape[0] // d,
        memory=params["linear_0.weight"].shape[0],
        attn_drop=args.get("attn_drop", 0.0),
        proj_drop=args.get("proj_drop", 0.0),
    )
    state = {}
    for name, value in params.items():
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        state[name] = value[None] if name.startswith(("keys", "values")) else value
    return module, state


@pytest.mark.parametrize(
    ("variant", "count"),
    [("eamlp-7", 6_096_206), ("eamlp-14", 29_801_422), ("eamlp-19", 54_470_798), ("eamlp-24", 89_355_726)],
)
def test_parameters_of_the_published_networks(variant: Any, count: int) -> None:
    """At 224 px with 1000 classes the four networks have the official code's parameters (claim mhea-params)."""
    with torch.device("meta"):
        module = Attention(1000, (224, 224), variant=variant)
        assert module.split(torch.empty(1, 3, 224, 224)).shape[1] == 196
    assert sum(p.numel() for p in module.parameters()) == count


def test_parameters_of_the_attention() -> None:
    """d = 256, h = 4: 533,888 parameters."""
    assert sum(p.numel() for p in MultiHeadExternal(256, 4).parameters()) == 533_888 == attention_parameters(256, 4)


def test_default_network_grows_with_the_image() -> None:
    """From 112 px the default is EAMLP-7; 8 px images get 16 tokens, 32 px 64, 96 px 144."""
    with torch.device("meta"):
        big, small, middle = Attention(10, (224, 224)), Attention(10, (8, 8), 1), Attention(10, (32, 32))
        assert Attention(10, (96, 96)).split.list_grids((96, 96))[-1] == (12, 12)
    assert (len(big.blocks), big.norm.normalized_shape) == (7, (256,))
    assert small.split.list_grids((8, 8))[-1] == (4, 4)
    assert middle.split.list_grids((32, 32))[-1] == (8, 8)


def test_hand_computed_attention() -> None:
    """Two positions and two units: softmax down each column, then each row divided by its sum."""
    a = torch.tensor([[0.0, 0.0], [0.0, torch.log(torch.tensor(3.0))]], dtype=torch.float64)[None]
    expected = torch.tensor([[0.5 / 0.75, 0.25 / 0.75], [0.5 / 1.25, 0.75 / 1.25]], dtype=torch.float64)[None]
    torch.testing.assert_close(normalize_twice(a), expected, rtol=2e-8, atol=0)


def test_linear_in_tokens() -> None:
    """Four times the tokens cost exactly four times the operations (claim mhea-linear)."""
    module = MultiHeadExternal(16, 4)

    def flops(length: int) -> int:
        with FlopCounterMode(display=False) as counter:
            module(torch.randn(1, length, 16))
        return counter.get_total_flops()

    assert flops(44) == 4 * flops(11) > 0


class _Shapes(TorchDispatchMode):
    """Notes the shape of every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.seen |= {tuple(t.shape) for t in (out if isinstance(out, tuple | list) else [out]) if hasattr(t, "shape")}
        return out


def test_no_product_of_tokens_with_tokens() -> None:
    """No L x L tensor appears in a block, forward or backward (claim mhea-mlp)."""
    block = ExternalAttentionBlock(MultiHeadExternal(16, 4), 2.0, 0.0)
    with _Shapes() as shapes:
        block(torch.randn(2, 19, 16)).sum().backward()
    assert any(19 in s for s in shapes.seen)
    assert not any(s.count(19) > 1 for s in shapes.seen)


def test_bias_of_the_keys_changes_nothing() -> None:
    """The softmax over positions cancels b_k."""
    module = randomise(MultiHeadExternal(8, 2).double())
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    before = module(x)
    with torch.no_grad():
        module.keys.bias.add_(torch.randn_like(module.keys.bias))
    torch.testing.assert_close(module(x), before)


def test_own_memories_equal_shared_ones_where_they_are_the_same() -> None:
    """shared=False with the same memory in every head is shared=True."""
    one = randomise(MultiHeadExternal(8, 2).double())
    each = MultiHeadExternal(8, 2, shared=False).double()
    state = {k: v.expand_as(each.state_dict()[k]) for k, v in one.state_dict().items()}
    each.load_state_dict(state)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(each(x), one(x))


def test_soft_split_equals_unfold_and_linear() -> None:
    """The last split and its projection are one convolution: unfold, then a linear layer."""
    split = randomise(Attention(5, (8, 8), 1).double().split).eval()
    x = torch.randn(2, 64, 8, 8, dtype=torch.float64)
    patches = nn.functional.unfold(x, 3, stride=2, padding=1).transpose(1, 2)
    expected = nn.functional.linear(patches, split.project.weight.flatten(1), split.project.bias)
    torch.testing.assert_close(split.project(x).flatten(2).transpose(1, 2), expected)


def test_positions_are_sinusoids() -> None:
    """Position 0 is (0, 1, 0, 1, ...); position p starts with sin p, cos p, sin(p / 10000^(2/d))."""
    table = sinusoidal_positions(4, 6).double()
    assert table[0, 0].tolist() == [0, 1, 0, 1, 0, 1]
    t = torch.tensor([3.0, 3.0, 3.0 / 10000 ** (2 / 6)], dtype=torch.float64)
    expected = torch.stack((t[0].sin(), t[1].cos(), t[2].sin()))
    torch.testing.assert_close(table[0, 3, :3], expected, rtol=1e-6, atol=1e-6)


def test_initialisation() -> None:
    """Weights of deviation 0.02, biases 0, memories of the token modules transposes of one another."""
    torch.manual_seed(0)
    module = Attention(5, (32, 32))
    assert module.blocks[0].attention.expand.weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert module.blocks[0].attention.keys.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias"))
    assert torch.equal(module.split.mix[0].values.weight, module.split.mix[0].keys.weight.T)


@pytest.mark.parametrize(
    "options",
    [{"num_heads": 3}, {"depth": 0}, {"strides": (2, 2)}, {"strides": (3, 2, 2)}, {"memory": 0}, {"coef": 0}],
    ids=str,
)
def test_refusals(options: dict[str, Any]) -> None:
    """Heads that do not divide the width, other strides and counts below 1 are refused."""
    with pytest.raises(ValueError, match=r"divide|strides|at least"):
        Attention(5, (8, 8), 1, **options)
