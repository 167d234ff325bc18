"""Own facts of DCN."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import attention, model
from attncli.attention.spatial.dcn import Attention, bilinear_corners, convolve_fused, convolve_gathered
from attncli.backbones.surgery import copy_host_kernel, find_mechanisms
from attncli.recipe import read as read_recipe
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.attention.test_condconv import single
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"modulated": False},
    {"mask_scale": 1.0},
    {"deformable_groups": 4},
    {"kernel": 5},
    {"dilation": 2},
    {"bias": True},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "groups": 4, "size": (10, 7)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """k^2 C_in C / g (+ C) + (3 or 2) k^2 G (k^2 C_in + 1)."""
    c, c_in, k2 = facts["channels"], facts["channels_in"], options.get("kernel", 3) ** 2
    maps = (3 if options.get("modulated", True) else 2) * k2 * options.get("deformable_groups", 1)
    return k2 * c_in * c // facts["groups"] + (c if options.get("bias") else 0) + maps * (k2 * c_in + 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """DeformableConv2d (offset_conv, modulator_conv, regular_conv) or mmcv's v1 (conv_offset, weight)."""
    given = meta.get("args") or meta.get("ctor") or {}
    long = {"s": "stride", "p": "padding", "d": "dilation"}
    ctor = {"stride": 1, "padding": 1, "dilation": 1} | {long.get(k, k): v for k, v in given.items()}
    modulated = "modulator_conv.weight" in params
    prefix, offset = ("regular_conv.", "offset_conv") if modulated else ("", "conv_offset")
    c, width, k, _ = params[f"{prefix}weight"].shape
    c_in = params[f"{offset}.weight"].shape[1]
    module = Attention(
        c,
        c_in,
        single(ctor["stride"]),
        c_in // width,
        modulated=modulated,
        deformable_groups=params[f"{offset}.weight"].shape[0] // (2 * k * k),
        kernel=k,
        dilation=single(ctor["dilation"]),
        bias=f"{prefix}bias" in params,
    )
    module.conv.padding = module.offset.padding = (single(ctor["padding"]),) * 2
    state = {f"conv.{leaf}": params[f"{prefix}{leaf}"] for leaf in ("weight", "bias") if f"{prefix}{leaf}" in params}
    for leaf in ("weight", "bias"):
        parts = [params[f"{name}.{leaf}"] for name in (offset, "modulator_conv") if f"{name}.{leaf}" in params]
        state[f"offset.{leaf}"] = torch.cat(parts)
    return module, state


@pytest.mark.parametrize("name", ["dcn", "dcn-v1"])
def test_offsets_and_mask_of_the_fixtures(name: str) -> None:
    """The intermediate maps are the official ones."""
    meta, data, params = read(shared(f"parity/{name}.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    offset, mask = module.predict_offsets(data["x"])
    torch.testing.assert_close(offset, data["offset"], rtol=1e-9, atol=1e-10)
    assert (mask is None) == ("mask" not in data)
    if mask is not None:
        torch.testing.assert_close(mask, data["mask"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("facts", "options"),
    [
        ({}, {}),
        ({"stride": 2, "groups": 2}, {"bias": True}),
        ({}, {"deformable_groups": 4, "kernel": 5, "dilation": 2}),
        ({"groups": 8}, {"deformable_groups": 2, "modulated": False}),
    ],
)
def test_both_ways_agree(facts: dict[str, int], options: dict[str, Any]) -> None:
    """Gathering pixels equals torchvision's operator: output and all gradients, offsets beyond the map included."""
    module = randomise(Attention(16, 8, **facts, **options).double())
    x = torch.randn(2, 8, 7, 9, dtype=torch.float64, requires_grad=True)
    offset, mask = (t if t is None else t.detach().requires_grad_() for t in module.predict_offsets(x))
    wanted = [t for t in (x, offset, mask, *module.conv.parameters()) if t is not None]
    ours, theirs = (way(module.conv, x, offset, mask) for way in (convolve_gathered, convolve_fused))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    for a, b in zip(*(torch.autograd.grad(y.pow(2).sum(), wanted) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-7)


def test_corners_by_hand() -> None:
    """(0.25, -0.5) on a 2x3 map: half of each weight falls on the column outside, which counts nothing."""
    pixel, weight = bilinear_corners(torch.tensor([0.25, -0.5]), (2, 3))
    assert weight.tolist() == [0, 0.375, 0, 0.125]
    assert pixel[1::2].tolist() == [0, 3]
    assert bilinear_corners(torch.tensor([float("nan"), 0.0]), (2, 3))[1].isnan().any()


@pytest.mark.parametrize("options", [o for o in OPTIONS if "mask_scale" not in o], ids=str)
def test_starts_as_the_plain_convolution(options: dict[str, Any]) -> None:
    """Zero offsets and a mask of one: nothing but a convolution (claim dcn-identity)."""
    module = Attention(12, 8, 2, 2, **options).double()
    x = torch.randn(2, 8, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.conv(x), rtol=0, atol=1e-12)


def test_network_starts_as_the_plain_network() -> None:
    """Each layer has the kernel of the convolution that it replaces, to the last bit, so logits agree."""
    recipes = [
        read_recipe(values={"model.attn": attn, "model.backbone": "resnet20", "seed": 3}) for attn in ("none", "dcn")
    ]
    plain, net = (model.build(recipe, model.InputSpec(10, (16, 16))).eval() for recipe in recipes)
    own = net.state_dict()
    kernels = {path: own[f"{path}.conv.weight"] for path in find_mechanisms(net)}
    assert len(kernels) == 12
    hosts = plain.state_dict()
    assert all(torch.equal(hosts[f"{path.removesuffix('.attn')}.weight"], kernel) for path, kernel in kernels.items())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(x), rtol=1e-4, atol=1e-4)


def test_kernel_of_another_size_is_not_kept() -> None:
    """Nor is one of other groups: the mechanism keeps what it drew."""
    host = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 5)})
    layer = Attention(8, 8)
    drawn = layer.conv.weight.clone()
    assert not copy_host_kernel(host, "conv", layer, "conv.weight")
    assert torch.equal(layer.conv.weight, drawn)


def test_mask_scale_one_starts_at_half() -> None:
    """With a plain sigmoid, as in v2's paper, activations start halved."""
    module = Attention(4, 4, mask_scale=1.0).double()
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.conv(x) / 2)


def test_hand_computed_offset() -> None:
    """A 1x1 tap moved by (1, 0.5) reads half of two pixels of the row below; outside is zero."""
    module = Attention(1, 1, kernel=1, modulated=False).double()
    nn.init.ones_(module.conv.weight)
    module.offset.bias.data = torch.tensor([1.0, 0.5], dtype=torch.float64)
    x = torch.arange(9.0, dtype=torch.float64).view(1, 1, 3, 3)
    expected = torch.tensor([[3.5, 4.5, 2.5], [6.5, 7.5, 4.0], [0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(module(x)[0, 0], expected)


def test_offsets_reach_beyond_the_kernel() -> None:
    """With an offset of 3 pixels, the output depends on a pixel a plain 3x3 never sees (claim dcn-field)."""
    module = Attention(1, 1).double()
    x = torch.zeros(1, 1, 11, 11, dtype=torch.float64)
    x[0, 0, 5, 9] = 1
    assert module(x)[0, 0, 5, 5] == 0
    module.offset.bias.data[1:18:2] = 3.0  # dx of every tap
    assert module(x)[0, 0, 5, 5] != 0


def test_parameters_on_resnet50() -> None:
    """v2 adds to stage 4 373,329, stages 2 to 4 871,263; v1 stage 4 248,886 (claim dcn-params)."""

    def added(widths: list[int], modulated: bool) -> int:
        with torch.device("meta"):
            new = sum(p.numel() for c in widths for p in Attention(c, c, modulated=modulated).parameters())
        return new - sum(9 * c * c for c in widths)

    assert added([512] * 3, True) == 373_329
    assert added([128] * 4 + [256] * 6 + [512] * 3, True) == 871_263
    assert added([512] * 3, False) == 248_886


def test_offsets_learn_slower() -> None:
    """The card gives the offset branch a tenth of the learning rate, by the name of its parameters."""
    ((prefix, factor),) = attention.describe_mechanism("dcn").card.lr_scale
    names = [n for n, _ in Attention(4, 4).named_parameters() if n.startswith(prefix + ".")]
    assert (names, factor) == (["offset.weight", "offset.bias"], 0.1)


def test_half_precision_trains() -> None:
    """Under bf16 autocast, where torchvision has no kernel, it returns bf16 and every parameter has a gradient."""
    module = randomise(Attention(4, 4))
    x = torch.randn(2, 4, 6, 6).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    F.mse_loss(y.float(), torch.zeros_like(y, dtype=torch.float32)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@pytest.mark.parametrize(
    ("options", "word"), [({"kernel": 2}, "odd"), ({"groups": 3}, "groups"), ({"deformable_groups": 3}, "deformable")]
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, **options)
