"""Own facts of attentional feature fusion."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.branch.aff import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 16},
    {"form": "iaff"},
    {"form": "iaff", "reuse_global": True},
]
FACTS = [{"channels_in": 16, "channels": 24, "stride": 2}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Each T has 2 C h + h + C and norms of 2 h + 2 C: two of them, four in iaff, three with a shared one."""
    c = facts["channels"]
    h = max(c // options.get("reduction", 4), 1)
    parts = 2 if options.get("form", "aff") == "aff" else 4 - options.get("reuse_global", False)
    return parts * (2 * c * h + 3 * h + 3 * c)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """AFF and iAFF(channels, r): local_att, global_att, local_att2, global_att2."""
    reuses = meta["slug"].endswith("pytorch")
    names = {"local_att": "local", "global_att": "context"}
    names |= {f"{theirs}2": f"second_{ours}" for theirs, ours in names.items()}
    state = {}
    for name, value in params.items():
        part, index, leaf = name.split(".")
        if reuses and part == "global_att2":
            continue
        is_global = part.startswith("global")
        place = int(index) - is_global  # the pooling comes first there
        value = value.flatten(1) if is_global and value.ndim == 4 else value
        state[f"{names[part]}.{place}.{leaf}"] = value
    ctor = meta["ctor"]
    form = "iaff" if meta["cls"] == "iAFF" else "aff"
    return Attention(ctor["channels"], form=form, reduction=ctor["r"], reuse_global=reuses), state


def run(module: nn.Module, data: dict[str, Tensor]) -> Tensor:
    """The fixtures hold the branch as x, and the shortcut."""
    y: Tensor = module(data["x"], data["x"], data["residual"])
    return y


def maps(seed: int) -> tuple[Tensor, Tensor]:
    """A branch and a shortcut."""
    g = torch.Generator().manual_seed(seed)
    branch, shortcut = torch.randn(2, 3, 8, 4, 5, generator=g, dtype=torch.float64)
    return branch, shortcut


def test_half_the_result_lies_between_branch_and_shortcut() -> None:
    """Element by element; iaff has no factor 2 (claim aff-convex)."""
    branch, shortcut = maps(0)
    for form, factor in (("aff", 2), ("iaff", 1)):
        y = randomise(Attention(8, form=form).double()).eval()(branch, branch, shortcut) / factor
        assert (y >= torch.minimum(branch, shortcut) - 1e-12).all()
        assert (y <= torch.maximum(branch, shortcut) + 1e-12).all()


def test_equal_maps_are_summed() -> None:
    """y = b + s if b = s, whatever the gate (claim aff-equal)."""
    branch, _ = maps(1)
    torch.testing.assert_close(randomise(Attention(8).double())(branch, branch, branch), 2 * branch)


def test_zero_weights_are_the_sum() -> None:
    """A gate of one half everywhere: aff is b + s, iaff half of it."""
    branch, shortcut = maps(2)
    for form, factor in (("aff", 1.0), ("iaff", 0.5)):
        module = Attention(8, form=form).double()
        for p in module.parameters():
            nn.init.zeros_(p)
        torch.testing.assert_close(module(branch, branch, shortcut), factor * (branch + shortcut))


def test_second_round_sees_the_first_mixture() -> None:
    """iaff equals its formula with two gates."""
    module = randomise(Attention(8, form="iaff").double()).eval()
    branch, shortcut = maps(3)

    def gate(z: Tensor, local: nn.Module, context: nn.Module) -> Tensor:
        return torch.sigmoid(local(z) + context(z.mean((2, 3)))[:, :, None, None])

    w1 = gate(branch + shortcut, module.local, module.context)
    w2 = gate(branch * w1 + shortcut * (1 - w1), module.second_local, module.second_context)
    torch.testing.assert_close(module(branch, branch, shortcut), branch * w2 + shortcut * (1 - w2))


@pytest.mark.parametrize("options", [{"form": "x"}, {"reduction": 0}])
def test_refusals(options: dict[str, Any]) -> None:
    """Two forms, and a hidden width."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)
