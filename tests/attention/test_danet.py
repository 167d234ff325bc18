"""Own facts of DANet's two branches."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention import pairwise_attention
from attncli.attention.channel_spatial.danet import Attention
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"query_reduction": 2},
    {"query_reduction": 64},
    {"fuse": "mean"},
    {"channel_softmax": "plain"},
    {"branches": "position"},
    {"branches": "channel"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Position 2(Cq + q) + C^2 + C + 1, channel 1."""
    c, branches = facts["channels"], options.get("branches", "both")
    q = max(c // options.get("query_reduction", 8), 1)
    return (branches != "channel") * (2 * (c * q + q) + c * c + c + 1) + (branches != "position")


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """PAM_Module(in_dim) as `sa` and CAM_Module(in_dim) as `sc`, or one of them alone."""
    ctor = meta.get("ctor") or meta.get("args") or {}
    value = next((v for k, v in params.items() if k.endswith("value_conv.weight")), None)
    position = value is not None
    channel = "sc.gamma" in params or not position
    q = next((v.shape[0] for k, v in params.items() if k.endswith("query_conv.weight")), 1)
    c = value.shape[0] if position else ctor.get("in_dim", 8)
    module = Attention(
        c,
        query_reduction=c // q,
        fuse=ctor.get("fuse", meta.get("fuse", "sum")),
        channel_softmax=ctor.get("channel_softmax", meta.get("channel_softmax", "flipped")),
        branches="both" if position and channel else "position" if position else "channel",
    )
    state = {}
    for name, tensor in params.items():
        if name.endswith("gamma"):
            state["gamma_c" if name == "sc.gamma" or not position else "gamma_p"] = tensor
        else:
            layer, leaf = name.split(".")[-2:]
            state[f"{layer.removesuffix('_conv')}.{leaf}"] = tensor.flatten(1) if tensor.ndim > 1 else tensor
    return module, state


@pytest.mark.parametrize(
    ("array", "options"),
    [
        ("y_pam", {"branches": "position"}),
        ("y_cam", {"branches": "channel"}),
        ("y_cam_plain", {"branches": "channel", "channel_softmax": "plain"}),
    ],
)
def test_branches_equal_official(array: str, options: dict[str, Any]) -> None:
    """Each branch alone, and the channel branch without the flipped sign."""
    data = np.load(shared("parity/danet.npz"))
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith("param/")}
    _, state = official(json.loads(str(data["meta"])), params)
    module = Attention(16, **options).double()
    module.load_state_dict({k: v for k, v in state.items() if k in module.state_dict()})
    y = module(torch.from_numpy(data["x"]))
    torch.testing.assert_close(y, torch.from_numpy(data[array]), rtol=0, atol=1e-9)


def test_each_branch_starts_as_the_identity() -> None:
    """With gamma = 0 p = x and q = x, so y = 2x, and x with fuse="mean" (claim danet-identity)."""
    x = torch.randn(2, 16, 4, 3, dtype=torch.float64)
    for options, factor in (
        ({"branches": "position"}, 1),
        ({"branches": "channel"}, 1),
        ({"fuse": "sum"}, 2),
        ({"fuse": "mean"}, 1),
    ):
        assert torch.equal(Attention(16, **options).double()(x), factor * x)


def test_parameter_counts_of_the_card() -> None:
    """The channel branch has 1 parameter, a position branch on 512 channels 328,321 (claim danet-params)."""
    count = {b: sum(p.numel() for p in Attention(512, branches=b).parameters()) for b in ("position", "channel")}
    assert count == {"position": 328321, "channel": 1}


def test_key_bias_has_no_gradient() -> None:
    """It adds a constant along the axis of the softmax (claim danet-key-bias-dead)."""
    module = randomise(Attention(16).double())
    module(torch.randn(2, 16, 4, 3, dtype=torch.float64)).square().sum().backward()
    assert module.key.bias.grad.abs().max() < 1e-12 * module.query.bias.grad.abs().max()


def test_hand_computed_channel_branch() -> None:
    """Channels (1, 0) and (0, 2): E = diag(1, 4); flipped weights of row 0 are softmax(-1, 0)."""
    module = Attention(2, branches="channel").double()
    nn.init.ones_(module.gamma_c)
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64).view(1, 2, 1, 2)
    rows = torch.softmax(torch.tensor([[-1.0, 0.0], [0.0, -4.0]], dtype=torch.float64), 1)
    torch.testing.assert_close(module(x), x + (rows @ x.view(2, 2)).view_as(x))


def test_fused_kernel_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the map of all pairs or without it the position branch and its gradient are the same."""
    module = randomise(Attention(16, branches="position").double())
    x = torch.randn(2, 16, 5, 4, dtype=torch.float64, requires_grad=True)
    expected = module(x)
    monkeypatch.setattr(pairwise_attention, "KEPT_BYTES", 0)
    got = module(x)
    torch.testing.assert_close(got, expected)
    (a,), (b,) = (torch.autograd.grad(y.square().sum(), x) for y in (got, expected))
    torch.testing.assert_close(a, b)


def test_channel_energies_are_summed_in_float32() -> None:
    """Under bf16 autocast the channel branch stays within the rounding of its input and output."""
    module = Attention(8, branches="channel")
    nn.init.ones_(module.gamma_c)
    x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    expected = module.double()(x.double())
    assert (y.double() - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    "options", [{"query_reduction": 0}, {"fuse": "max"}, {"channel_softmax": "sharp"}, {"branches": "none"}]
)
def test_refusals(options: dict[str, Any]) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=r"sum or mean|position or channel"):
        Attention(16, **options)
