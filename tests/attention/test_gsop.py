"""Own facts of GSoP."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import model, validation
from attncli.attention.channel import se
from attncli.attention.channel.gsop import Attention, channel_covariance, default_attention_dim
from attncli.measure.flops import count_operations
from attncli.model import InputSpec
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"att_dim": 6},
    {"row_expansion": 2},
    {"reduction_stride": 1},
    {"reduction_stride": (3, 2)},
]
FACTS: list[dict[str, Any]] = [{}, {"stage": 3, "channels": 16}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C d + d + 4 d of two norms + e d^2 + e d + e d C + C, with e = 4 outputs per row."""
    c, e = facts["channels"], options.get("row_expansion", 4)
    d = options.get("att_dim", min(128, c // 2))
    return c * d + d + 4 * d + e * d * d + e * d + e * d * c + c


NAMES = {
    "conv_for_DR": "reduce",
    "bn_for_DR": "reduce_bn",
    "row_bn": "row_bn",
    "row_conv_group": "rows",
    "fc_adapt_channels": "expand",
}


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Bottleneck(planes, attention='1', att_dim=128), its channel branch; the stride is 2 for planes <= 64."""
    channels, d = params["fc_adapt_channels.weight"].shape[0], params["conv_for_DR.weight"].shape[0]
    stride = meta.get("stride_of_conv_for_DR") or meta["ctor"].get("stride") or (2 if channels <= 256 else 1)
    state = {f"{NAMES[owner]}.{leaf}": v for k, v in params.items() for owner, leaf in [k.split(".")]}
    state["rows.weight"] = state["rows.weight"].view(d, 4, d).mT  # output 4 q + j belongs to row q
    state["expand.weight"] = state["expand.weight"].flatten(1)
    return Attention(channels, att_dim=d, reduction_stride=stride), state


def test_total_of_the_card() -> None:
    """At the last blocks of resnet50's stages the parameters are 2,728,192 (gsop-params)."""
    assert sum(sum(p.numel() for p in Attention(c).parameters()) for c in (256, 512, 1024, 2048)) == 2_728_192


def test_dimension_of_narrow_maps() -> None:
    """d is the paper's 128 from C = 256 on and C/2 below, at least 1."""
    assert [default_attention_dim(c) for c in (1, 16, 64, 256, 2048)] == [1, 8, 32, 128, 128]


def test_stride_by_stage() -> None:
    """The reduction has stride 2 in the first stage and 1 in all later ones."""
    assert [Attention(16, stage).reduce.stride[0] for stage in (1, 2, 3, 4, 5)] == [2, 1, 1, 1, 1]


def test_covariance_is_biased_and_centred() -> None:
    """It equals torch.cov with correction 0, sample by sample."""
    u = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    expected = torch.stack([torch.cov(s.flatten(1), correction=0) for s in u])
    torch.testing.assert_close(channel_covariance(u), expected, rtol=1e-12, atol=1e-14)


def test_covariance_ignores_a_constant() -> None:
    """A constant added to every reduced map leaves the covariance as it is (claim gsop-mean-invariance)."""
    u = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    moved = u + torch.randn(2, 4, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(channel_covariance(moved), channel_covariance(u), rtol=1e-12, atol=1e-13)


def test_hand_computed_gate() -> None:
    """One channel with relu(x) = 0, 2: covariance 1; then row, expansion and sigmoid as set by hand."""
    module = Attention(1, stage=2, att_dim=1, row_expansion=1).double().eval()
    for name, value in {"reduce": 1.0, "rows": 3.0, "expand": 0.5}.items():
        nn.init.constant_(module.get_submodule(name).weight, value)
        nn.init.constant_(module.get_submodule(name).bias, 0.25 if name == "rows" else 0.0)
    x = torch.tensor([[[[-5.0, 2.0]]]], dtype=torch.float64)
    k = 1 / (1 + 1e-5)  # the two norms in eval mode divide by sqrt(1 + 1e-5): u twice, the covariance once more
    s = torch.tensor(0.5 * (3 * k * k**0.5 + 0.25), dtype=torch.float64).sigmoid()
    torch.testing.assert_close(module(x), x * s, rtol=1e-12, atol=0)


def test_second_order_where_se_sees_none() -> None:
    """Two maps with equal means and other correlations: GSoP's gates differ, SE's are equal (gsop-second-order)."""
    torch.manual_seed(0)
    x = torch.rand(1, 8, 6, 6, dtype=torch.float64)
    other = x.clone()
    other[:, 0] = x[:, 0].flip(-1)  # the channel's mean stays, its place relative to the others changes
    gsop = randomise(Attention(8, stage=2).double()).eval()
    first = se.Attention(8, reduction=2).double()
    torch.testing.assert_close(first(x)[:, 1:], first(other)[:, 1:], rtol=0, atol=1e-14)
    assert (gsop(x)[:, 1:] - gsop(other)[:, 1:]).abs().max() > 1e-6


def test_stride_of_the_last_stage_costs_more_than_the_blocks() -> None:
    """On resnet50 the blocks add less than 10 %, a last stage at stride 1 and the blocks about 60 % (gsop-flops)."""
    shape = InputSpec(1000, (224, 224))
    with torch.device("meta"):
        plain, gsop = (
            model.build(validation.read(values={"model.backbone": "resnet50", "model.attn": attn}), shape)
            for attn in ("none", "gsop")
        )
    macs = [count_operations(net, (224, 224))[0] for net in (plain, gsop)]
    for path in ("layer4.0.conv2", "layer4.0.downsample.0"):
        conv = gsop.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)
    macs.append(count_operations(gsop, (224, 224))[0])
    assert macs[1] / macs[0] < 1.1
    assert macs[2] / macs[0] == pytest.approx(6.18 / 3.86, abs=0.05)


def test_initialisation() -> None:
    """The three convolutions are Kaiming normal by fan out: sqrt(2/d), sqrt(2/(4 d d)), sqrt(2/C)."""
    module = Attention(512, stage=2)
    for name, fan in {"reduce": 128, "rows": 4 * 128 * 128, "expand": 512}.items():
        std = module.get_submodule(name).weight.std().item()
        assert abs(std / (2 / fan) ** 0.5 - 1) < 0.02, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (2, 2)}, "1 x 1"),
        ({"att_dim": 0}, "att_dim"),
        ({"reduction_stride": 0}, "reduction_stride"),
        ({"reduction_stride": ()}, "reduction_stride"),
        ({"row_expansion": 0}, "row_expansion"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    """A map of one pixel after the stride, and numbers below 1, are refused."""
    with pytest.raises(ValueError, match=message):
        Attention(8, **options)
