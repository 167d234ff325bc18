"""Own facts of efficient local attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.spatial.ela import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"form": "t"},
    {"form": "s"},
    {"form": "l"},
    {"form": "timm"},
    {"kernel": 3},
    {"groups": 4},
]
PER_CHANNEL = {"t": 7, "b": 9, "s": 42, "l": 58, "timm": 18}


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """7, 9, 42, 58 or 18 numbers per channel; a kernel of k has k + 2 in form b."""
    per_channel = PER_CHANNEL[options.get("form", "b")]
    if facts["channels"] % 8 and options.get("form") in ("s", "l"):
        raise NotImplementedError
    return facts["channels"] * (options["kernel"] + 2 if "kernel" in options else per_channel)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """ELA(chans, kernel_size): conv, gn; timm's EfficientLocalAttn: conv_h, conv_w, norm_h, norm_w."""
    names = {"conv": "convs.both", "gn": "norms.both"}
    names |= {
        f"{kind}_{d}": f"{kind}s.{long}" for kind in ("conv", "norm") for d, long in (("h", "rows"), ("w", "columns"))
    }
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        state[f"{names[layer]}.{leaf}"] = value.flatten(2) if value.ndim > 2 else value
    form = "timm" if "conv_h.weight" in params else "b"
    return Attention(meta["input_shape"][1], form=form, kernel=meta["ctor"]["kernel_size"]), state


@pytest.mark.parametrize("form", ["b", "timm"])
def test_gate_is_of_rank_one(form: Any) -> None:
    """For each channel the gate is a column times a row (claim ela-separable)."""
    module = randomise(Attention(8, form=form).double())
    x = torch.rand(2, 8, 6, 5, dtype=torch.float64) + 0.5
    values = torch.linalg.svdvals(module(x) / x)
    assert (values[..., 0] > 0.1).all()
    assert (values[..., 1:] < 1e-12).all()


def test_channels_meet_in_the_norm_only() -> None:
    """With one channel in each group of the norm, a channel of y depends on that of x (claim ela-channelwise)."""
    module = randomise(Attention(8, groups=8).double())
    x = torch.randn(1, 8, 5, 5, dtype=torch.float64, requires_grad=True)
    module(x)[0, 3].sum().backward()
    assert x.grad[0].abs().sum((1, 2)).nonzero().flatten().tolist() == [3]


def test_one_convolution_serves_both_directions() -> None:
    """Transposing the map transposes the output."""
    module = randomise(Attention(16).double())
    x = torch.randn(2, 16, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x.transpose(2, 3)), module(x).transpose(2, 3))


def test_timm_form_has_one_for_each() -> None:
    """There a transposed map gives another output."""
    module = randomise(Attention(16, form="timm").double())
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    assert not torch.allclose(module(x.transpose(2, 3)), module(x).transpose(2, 3))


@pytest.mark.parametrize(("channels", "form", "groups"), [(16, "b", 16), (16, "t", 16), (24, "t", 24), (40, "b", 10)])
def test_groups_divide_the_channels(channels: int, form: Any, groups: int) -> None:
    """The largest divisor up to the form's."""
    assert Attention(channels, form=form).norms["both"].num_groups == groups


@pytest.mark.parametrize("options", [{"form": "x"}, {"kernel": 4}])
def test_refusals(options: dict[str, Any]) -> None:
    """What is no form, and kernels without a middle."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(16, **options)
