"""Own facts of BAM."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.bam import Attention
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4},
    {"reduction": 64},
    {"num_layers": 2},
    {"num_layers": 0},
    {"dilation_conv_num": 1},
    {"dilation_conv_num": 0},
    {"dilation": 2},
    {"combine": "product"},
    {"branches": "channel"},
    {"branches": "spatial"},
]


def dead(options: dict[str, Any]) -> tuple[str, ...]:
    """The biases of all layers but the last of a branch, each before a norm."""
    channel, spatial = options.get("num_layers", 1), 1 + options.get("dilation_conv_num", 2)
    return (*(f"channel.{3 * i}.bias" for i in range(channel)), *(f"spatial.{3 * i}.bias" for i in range(spatial)))


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3Ch + 18h^2 + 13h + C + 1 by default, summed layer by layer for other counts."""
    c, layers, dilated = facts["channels"], options.get("num_layers", 1), options.get("dilation_conv_num", 2)
    h = max(c // options.get("reduction", 16), 1)
    hidden = c * h + 3 * h + (layers - 1) * (h * h + 3 * h) if layers else 0  # Linear with bias, norm
    channel = hidden + (h if layers else c) * c + c
    spatial = c * h + 3 * h + dilated * (9 * h * h + 3 * h) + h + 1
    kept = options.get("branches", "both")
    return channel * (kept != "spatial") + spatial * (kept != "channel")


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """BAM(gate_channel, reduction_ratio, num_layers, dilation_conv_num, dilation_val); `combine` by the fixture.

    The layers are numbered anew; the first hidden layer is narrow, whatever their number.
    """
    ctor = meta.get("ctor") or meta.get("args") or {}
    h, c = params["spatial_att.gate_s.gate_s_conv_reduce0.weight"].shape[:2]
    layers = len({k for k in params if re.search(r"gate_c_fc_\d+\.weight", k)})
    dilated = len({k for k in params if re.search(r"gate_s_conv_di_\d+\.weight", k)})
    module = Attention(
        c,
        reduction=c // h,
        num_layers=layers,
        dilation_conv_num=dilated,
        dilation=ctor.get("dilation_val", 4),
        combine=ctor.get("combine", meta.get("combine", "sum")),
    )
    rules = [
        (r"channel_att\.gate_c\.gate_c_fc_final", lambda m: f"channel.{3 * layers}"),
        (r"channel_att\.gate_c\.gate_c_fc_(\d+)", lambda m: f"channel.{3 * int(m[1])}"),
        (r"channel_att\.gate_c\.gate_c_bn_(\d+)", lambda m: f"channel.{3 * int(m[1]) - 2}"),
        (r"spatial_att\.gate_s\.gate_s_conv_reduce0", lambda m: "spatial.0"),
        (r"spatial_att\.gate_s\.gate_s_bn_reduce0", lambda m: "spatial.1"),
        (r"spatial_att\.gate_s\.gate_s_conv_di_(\d+)", lambda m: f"spatial.{3 * int(m[1]) + 3}"),
        (r"spatial_att\.gate_s\.gate_s_bn_di_(\d+)", lambda m: f"spatial.{3 * int(m[1]) + 4}"),
        (r"spatial_att\.gate_s\.gate_s_conv_final", lambda m: f"spatial.{3 * dilated + 3}"),
    ]
    state = {}
    for name, value in params.items():
        pattern, new = next(r for r in rules if re.match(r[0], name))
        state[re.sub(pattern, new, name)] = value
    return module, state


def fixture(combine: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Our module with the fixture's weights, and its arrays."""
    loaded = np.load(shared("parity/bam.npz"))
    data = {k: torch.from_numpy(loaded[k]) for k in loaded.files if k != "meta"}
    params = {k[6:]: v for k, v in data.items() if k.startswith("param/")}
    module, state = official({**json.loads(str(loaded["meta"])), "combine": combine}, params)
    module.double().load_state_dict(state)
    return module, data


def test_product_equals_the_released_code() -> None:
    """combine="product" gives the released forward: output, gradient and training output."""
    module, data = fixture("product")
    x = data["x"].requires_grad_()
    y = module.eval()(x)
    (grad,) = torch.autograd.grad((y * data["w"]).sum(), x)
    torch.testing.assert_close(y, data["y_product"], rtol=0, atol=1e-9)
    torch.testing.assert_close(grad, data["grad_x_product"], rtol=0, atol=1e-9)
    torch.testing.assert_close(module.train()(x), data["y_train_product"], rtol=0, atol=1e-9)


def test_branches_equal_official() -> None:
    """The two maps before they are combined are those of the official branches."""
    module, data = fixture("sum")
    module.eval()
    c = module.channel(data["x"].mean((2, 3)))
    torch.testing.assert_close(c[:, :, None, None], data["logit_channel"], rtol=0, atol=1e-9)
    torch.testing.assert_close(module.spatial(data["x"]), data["logit_spatial"], rtol=0, atol=1e-9)


def test_hand_computed_without_hidden_layers() -> None:
    """With zero spatial weights and bias 1, and an identity channel layer, y = x (1 + sigmoid(mean + 1))."""
    module = Attention(2, num_layers=0, dilation_conv_num=0).double().eval()
    with torch.no_grad():
        module.channel[0].weight.copy_(torch.eye(2))
        module.spatial[3].weight.zero_()
        module.spatial[3].bias.fill_(1)
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]], dtype=torch.float64)  # means 2 and -1
    factor = 1 + torch.sigmoid(torch.tensor([3.0, 0.0], dtype=torch.float64)).view(1, 2, 1, 1)
    torch.testing.assert_close(module(x), x * factor)


def test_factor_lies_between_one_and_two() -> None:
    """|x| < |y| < 2 |x| wherever x is not 0 (claim bam-amplifies)."""
    module = randomise(Attention(32).double())
    x = torch.randn(4, 32, 9, 9, dtype=torch.float64)
    y = module(x)
    assert (y.abs() > x.abs()).all()
    assert (y.abs() < 2 * x.abs()).all()
    assert (y.sign() == x.sign()).all()


def test_one_branch_alone_is_the_whole_sum() -> None:
    """With one map kept the gate is that map's sigmoid, constant over positions or over channels."""
    x = torch.rand(2, 16, 6, 5, dtype=torch.float64) + 0.5
    for branch, dims in (("channel", (2, 3)), ("spatial", (1,))):
        gate = randomise(Attention(16, reduction=2, branches=branch).double()).eval()(x) / x
        torch.testing.assert_close(gate, gate.mean(dims, keepdim=True).expand_as(gate))
        assert gate.std() > 1e-3


def test_initialisation_of_the_official_networks() -> None:
    """Biases start at 0 and norms at weight 1; convolutions have variance 2 / (k^2 out)."""
    torch.manual_seed(0)
    module = Attention(512, reduction=4)
    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias"))
    assert (module.channel[1].weight == 1).all()
    assert module.spatial[3].weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_pools_the_whole_map() -> None:
    """The channel branch sees all of a map that is not square: the released code sees its first H columns only."""
    module = randomise(Attention(16).double()).eval()
    with torch.no_grad():
        module.spatial[-1].weight.zero_()  # else the spatial branch would carry the change
    x = torch.randn(1, 16, 2, 5, dtype=torch.float64)
    other = x.clone()
    other[..., -1] += 1
    assert not torch.allclose(module(x)[..., 0], module(other)[..., 0])


@pytest.mark.parametrize(
    "options",
    [
        {"combine": "max"},
        {"reduction": 0},
        {"dilation": 0},
        {"num_layers": -1},
        {"dilation_conv_num": -1},
        {"branches": "none"},
    ],
)
def test_refusals(options: dict[str, Any]) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=r"or more|product|both"):
        Attention(16, **options)
