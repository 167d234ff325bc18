"""Own facts of GLTR."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.temporal.gltr import Attention, GlobalLocalCore
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"d": 6},
    {"dilations": (1, 2, 4)},
    {"dilations": (2,)},
    {"kernel_size": 5},
    {"dropout": 0.0},
]


def settle(module: nn.Module) -> None:
    """Small logits: large ones leave the softmax a single frame, and no gradient."""
    module.core.theta.weight.data /= 100


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Dense layer, core, norm and classifier; 41 d^2 + 18 d in the core at the defaults."""
    d, b, w = options.get("d", 128), len(options.get("dilations", (1, 2, 3))), options.get("kernel_size", 3)
    wide = (1 + b) * d
    inner = wide // 2
    core = b * w * d * d + 3 * (wide * inner + inner) + inner * wide + wide + 2 * wide
    return facts["channels"] * d + d + core + 2 * wide + wide * facts["classes"] + facts["classes"]


NAMES = (("W.0.", "project."), ("W.1.", "norm."))


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """feat1..3 and NonLocalBlock1D(4d): (d, 1, 3, d) weights become (d, d, 3), 1x1 convolutions linear layers."""
    state = {}
    for name, value in params.items():
        if name.startswith("feat"):
            index = int(name.removeprefix("feat").partition(".")[0])
            state[f"local.{index - 1}.weight"] = value.squeeze(1).transpose(1, 2)
            continue
        name = name.removeprefix("Nonlocal_block0.")
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        state[name] = value.squeeze(-1) if value.ndim == 3 else value
    return GlobalLocalCore(params["feat1.weight"].shape[0], kernel_size=params["feat1.weight"].shape[2]), state


def test_frames_of_the_fixture_before_their_mean() -> None:
    """The sequence v equals the fixture's y_seq in eval mode."""
    arrays = np.load(shared("parity/gltr.npz"))
    data = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta"}
    params = {k.removeprefix("param/"): v for k, v in data.items() if k.startswith("param/")}
    core, state = official(json.loads(str(arrays["meta"])), params)
    core.double().load_state_dict(state)
    seen = core.eval().relate_frames(data["x"]).transpose(1, 2)
    torch.testing.assert_close(seen, data["y_seq"], rtol=1e-9, atol=1e-10)


def test_core_parameters() -> None:
    """With d = 128 the core has 674,048 parameters, 41 d^2 + 18 d (claim gltr-params)."""
    assert sum(p.numel() for p in GlobalLocalCore(128).parameters()) == 674_048 == 41 * 128**2 + 18 * 128


def test_numbers_between_the_first_and_the_last_layer() -> None:
    """The core and the norm of the head, as its docstring says: 41 d^2 + 26 d."""
    module = Attention(2048, 4, 10, d=128)
    outer = sum(p.numel() for layer in (module.reduce, module.classify) for p in layer.parameters())
    assert sum(p.numel() for p in module.parameters()) - outer == 41 * 128**2 + 26 * 128


def test_fresh_attention_is_the_identity() -> None:
    """In a fresh core v equals u exactly (claim gltr-identity)."""
    core = GlobalLocalCore(8).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    for mode in (True, False):
        core.train(mode)
        assert torch.equal(core.relate_frames(x), core.gather_neighbours(x))


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_branch_sees_three_frames(dilation: int) -> None:
    """Branch i depends on the frame itself and those i before and after only (claim gltr-local-rf)."""
    d, t = 4, 5
    core = randomise(GlobalLocalCore(d).double())
    x = torch.randn(1, 11, d, dtype=torch.float64, requires_grad=True)
    core.gather_neighbours(x)[0, t, dilation * d : (dilation + 1) * d].sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum(1).nonzero().flatten().tolist() == [t - dilation, t, t + dilation]


def test_attention_equals_the_formula() -> None:
    """v = u + BN(W (A g)) with rows of A positive and of sum 1, and no scale (claim gltr-attn)."""
    core = randomise(GlobalLocalCore(3).double()).eval()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    u = core.gather_neighbours(x)
    a = (core.theta(u) @ core.phi(u).mT).softmax(-1)
    assert (a > 0).all()
    torch.testing.assert_close(a.sum(-1), torch.ones(2, 5, dtype=torch.float64))
    expected = u + core.norm(core.project(a @ core.g(u)).mT).mT
    torch.testing.assert_close(core.relate_frames(x), expected)


def test_hand_computed_branch() -> None:
    """With kernel (1, 10, 100) and dilation 2, frames 1 2 3 4 5 give 310, 420, 531, 42, 53: zeros beyond the clip."""
    core = GlobalLocalCore(1, (2,)).double()
    with torch.no_grad():
        core.local[0].weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
    x = torch.arange(1.0, 6.0, dtype=torch.float64).view(1, 5, 1)
    expected = torch.tensor([310.0, 420.0, 531.0, 42.0, 53.0], dtype=torch.float64)
    torch.testing.assert_close(core.gather_neighbours(x)[0, :, 1], expected)


def test_clips_do_not_mix() -> None:
    """Frames are grouped by clip: logits of a clip do not change with the other clip."""
    module = randomise(Attention(8, 3, 5, d=4).double()).eval()
    x = torch.randn(6, 8, dtype=torch.float64)
    changed = torch.cat((x[:3], x[3:] + 1))
    torch.testing.assert_close(module(x)[0], module(changed)[0])
    assert not torch.allclose(module(x)[1], module(changed)[1])


@pytest.mark.parametrize(("frames", "options"), [(1, {}), (4, {"kernel_size": 2}), (4, {"dilations": (0, 1)})], ids=str)
def test_refusals(frames: int, options: dict[str, Any]) -> None:
    """One frame, an even kernel and a dilation below 1 are refused."""
    with pytest.raises(ValueError, match=r"at least|odd"):
        Attention(8, frames, 5, **options)
