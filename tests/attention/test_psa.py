"""Own facts of PSA."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.spatial.psa import Attention, Flow, offset_index
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"mid_channels": 6},
    {"flow": "collect"},
    {"flow": "distribute"},
    {"compact": True},
    {"compact": True, "flow": "distribute"},
    {"shrink_factor": 2},
    {"mask": (3, 5)},
    {"normalization": 2.0},
    {"normalization": None},
    {"softmax": False},
    {"output": "concat"},
]
FACTS = [{}, {"channels": 12, "size": (4, 6)}]


def width(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """The official module joins what it computes to its input."""
    return facts["channels"] * (2 if options.get("output") == "concat" else 1)


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Per flow C c + 2 c + c^2 + 2 c + c M_h M_w; joined flows c C + 2 C; projection 2 C^2."""
    big, f = facts["channels"], options.get("shrink_factor", 1)
    c = options.get("mid_channels") or big // 4
    h, w = ((side - 1) // f + 1 for side in facts["size"])
    rows, columns = (h, w) if options.get("compact") else options.get("mask", (2 * h - 1, 2 * w - 1))
    flows = 2 if options.get("flow", "both") == "both" else 1
    projection = 2 * big * big if options.get("output", "project") == "project" else 0
    return flows * (big * c + 4 * c + c * c + c * rows * columns) + flows * c * big + 2 * big + projection


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """PSA of semseg: reduce, attention (and _p for the second flow), proj."""
    ctor = {"psa_type": 2, "compact": False, "shrink_factor": 2, "mask_h": 59, "mask_w": 59}
    ctor |= {"normalization_factor": 1.0, "psa_softmax": True} | (meta.get("args") or meta.get("ctor") or {})
    c, channels = params["reduce.0.weight"].shape[:2]
    module = Attention(
        channels,
        tuple(meta["input_shape"][2:]),
        mid_channels=c,
        flow=("collect", "distribute", "both")[ctor["psa_type"]],
        compact=ctor["compact"],
        shrink_factor=ctor["shrink_factor"],
        mask=(ctor["mask_h"], ctor["mask_w"]),
        normalization=ctor["normalization_factor"],
        softmax=ctor["psa_softmax"],
        output="concat",
    )
    names = {"attention.0": "0.predict.0.0", "attention.1": "0.predict.0.1", "attention.3": "0.predict.1"}
    names |= {"reduce.0": "0.reduce.0", "reduce.1": "0.reduce.1"}
    names |= {k.replace(".", "_p.", 1): "1" + v[1:] for k, v in names.items()}
    names = {k: f"flows.{v}" for k, v in names.items()} | {"proj.0": "join.0", "proj.1": "join.1"}
    split = (key.rpartition(".") for key in params)
    return module, {f"{names[owner]}.{leaf}": params[f"{owner}.{leaf}"] for owner, _, leaf in split}


def flow(distribute: bool, size: tuple[int, int] = (3, 4), mask: tuple[int, int] = (5, 7), **options: Any) -> Flow:
    """A flow of four channels with random weights."""
    settings = {"compact": False, "softmax": True, "divisor": 1.0} | options
    return randomise(Flow(4, 4, size, mask, distribute, **settings).double()).eval()


@pytest.mark.parametrize("mask", [(5, 7), (3, 3), (9, 9)], ids=str)
@pytest.mark.parametrize("distribute", [False, True], ids=["collect", "distribute"])
def test_weights_by_their_definition(distribute: bool, mask: tuple[int, int]) -> None:
    """L_ji = a_i[j - i] or L_ij = a_i[j - i], 0 beyond the mask; softmax over the source: position by position."""
    module, (h, w) = flow(distribute, mask=mask), (3, 4)
    z = torch.randn(2, 4, h, w, dtype=torch.float64)
    a = module.predict(z)
    logits = torch.zeros(2, h * w, h * w, dtype=torch.float64)
    for i in range(h * w):
        for j in range(h * w):
            row, column = j // w - i // w + mask[0] // 2, j % w - i % w + mask[1] // 2
            if 0 <= row < mask[0] and 0 <= column < mask[1]:
                source, target = (i, j) if distribute else (j, i)
                logits[:, source, target] = a[:, row * mask[1] + column, i // w, i % w]
    torch.testing.assert_close(module.predict_affinity(z), logits.softmax(1))


def test_hand_computed_index() -> None:
    """Two positions in a row, mask 1x3: left of, at and right of a position are 0, 1, 2."""
    assert offset_index((1, 2), (1, 3)).tolist() == [[1, 0], [2, 1]]
    assert offset_index((1, 2), (1, 1)).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("distribute", [False, True], ids=["collect", "distribute"])
@pytest.mark.parametrize("compact", [False, True])
def test_sources_sum_to_one(distribute: bool, compact: bool) -> None:
    """What flows into a position is a mean over all positions."""
    p = flow(distribute, mask=(3, 4) if compact else (5, 7), compact=compact).predict_affinity(
        torch.randn(2, 4, 3, 4).double()
    )
    torch.testing.assert_close(p.sum(1), torch.ones(2, 12, dtype=torch.float64))


def test_far_positions_depend_on_each_other() -> None:
    """The opposite corner has a gradient (claim psa-global)."""
    module = randomise(Attention(8, (6, 6)).double()).eval()
    x = torch.randn(1, 8, 6, 6, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 0, 0].sum().backward()
    assert x.grad[0, :, 5, 5].abs().max() > 0


def test_another_size_is_refused() -> None:
    """Built for 7x7 maps, it says so when it meets 8x8 (claim psa-size)."""
    with pytest.raises(ValueError, match="7x7, and got 8x8"):
        Attention(8, (7, 7))(torch.randn(2, 8, 8, 8))


def test_projection_acts_on_the_official_output() -> None:
    """The default is the official module followed by a 1x1 convolution back to C channels."""
    concat = randomise(Attention(8, (5, 3), output="concat").double()).eval()
    project = Attention(8, (5, 3)).double().eval()
    project.load_state_dict({**project.state_dict(), **concat.state_dict()})
    x = torch.randn(2, 8, 5, 3, dtype=torch.float64)
    assert torch.equal(concat(x)[:, :8], x)
    torch.testing.assert_close(project(x), project.out(concat(x)))


def test_parameters_of_the_card() -> None:
    """C = 2048, c = 512: 8,291,328 at 59 x 59 offsets, 4,899,840 on a 7x7 map; `project` adds 2 C^2."""

    def count(side: int, **options: Any) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in Attention(2048, (side, side), output="concat", **options).parameters())

    assert count(59, shrink_factor=2) == 8_291_328
    assert count(7) == 4_899_840


def test_refusals() -> None:
    """Masks without a centre, widths that are not positive and unknown names are refused."""
    for options, word in (
        ({"mask": (4, 3)}, "4x3"),
        ({"mid_channels": 0}, "mid_channels"),
        ({"shrink_factor": 0}, "shrink_factor"),
        ({"flow": "none"}, "flow"),
        ({"output": "sum"}, "output"),
    ):
        with pytest.raises(ValueError, match=word):
            Attention(8, (5, 5), **options)
