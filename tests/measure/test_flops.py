"""Parameters, MACs and element-wise work against published figures and sums made by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from attncli import attention
from attncli.measure.fake_tensors import run_on_fake_tensors
from attncli.measure.flops import count_operations, count_parameters
from tests.measure.nets import Decides, Tiny, Wrapped


@pytest.mark.parametrize(
    ("name", "params", "low", "high"),
    [
        ("resnet18", 11_689_512, 1.81, 1.82),
        ("resnet50", 25_557_032, 4.09, 4.12),
        ("vit_b_16", 86_567_656, 17.56, 17.61),
    ],
)
def test_published_totals(name: str, params: int, low: float, high: float) -> None:
    """torchvision's networks at 224 px have the parameters and GMACs that the literature gives them."""
    net = getattr(torchvision.models, name)()
    assert count_parameters(net) == params
    macs, _ = count_operations(net, (224, 224))
    assert low <= round(macs / 1e9, 2) <= high


def test_network_worked_out_by_hand() -> None:
    """6 x 8 px: the products of convolution and linear layer; the elements of ReLU and mean."""
    net = Tiny()
    assert count_parameters(net) == 4 * 3 * 9 + 4 * 5 + 5
    assert count_operations(net, (6, 8)) == (4 * 3 * 9 * 48 + 20, 4 * 48 + 4)


def test_shared_and_frozen_parameters() -> None:
    """A shared parameter counts once, a frozen one only in the whole."""
    a, b = nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)
    net = nn.Sequential(a, a, b)
    b.weight.requires_grad_(False)
    assert count_parameters(net) == 15
    assert count_parameters(net, trainable=True) == 9


def test_grouped_convolution_counts_its_own_channels_only() -> None:
    """g groups take a g-th of the products."""
    macs = [count_operations(nn.Conv2d(3, 6, 3, padding=1, groups=g), (5, 5))[0] for g in (1, 3)]
    assert macs == [6 * 3 * 9 * 25, 6 * 1 * 9 * 25]


def test_deformable_convolution_counts_as_its_plain_one() -> None:
    """The products of deform_conv2d with 64 channels are those of the plain convolution; its samples are written."""
    weight = torch.randn(64, 64, 3, 3)

    def plain(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x.repeat(1, 22, 1, 1)[:, :64], weight, padding=1)

    def deformable(x: torch.Tensor) -> torch.Tensor:
        y = x.repeat(1, 22, 1, 1)[:, :64]
        return torchvision.ops.deform_conv2d(y, x.new_zeros(1, 18, 8, 8), weight, padding=1)

    (macs, written), (same, sampled) = (
        count_operations(Wrapped(plain), (8, 8)),
        count_operations(Wrapped(deformable), (8, 8)),
    )
    assert macs == same == 64 * 64 * 9 * 64
    assert sampled - written == 64 * 9 * 64


def attend(x: torch.Tensor, y: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    """What x (..., L, d) takes from y (..., S, d), or from itself."""
    y = x if y is None else y
    return F.scaled_dot_product_attention(x, y, y, **options)


MASK = torch.ones(8, 8)
TRUTHS = MASK.bool()


@pytest.mark.parametrize(
    ("name", "function", "macs"),
    [
        ("heads", attend, 3 * 2 * 8 * 8 * 8),
        ("no heads", lambda x: attend(x[0]), 3 * 2 * 8 * 8 * 8),
        ("one matrix", lambda x: attend(x[0, 0]), 2 * 8 * 8 * 8),
        ("five axes", lambda x: attend(x[None]), 3 * 2 * 8 * 8 * 8),
        ("few keys", lambda x: attend(x, x[:, :, :5]), 3 * 2 * 8 * 5 * 8),
        ("narrow values", lambda x: F.scaled_dot_product_attention(x, x, x[..., :5]), 3 * 8 * 8 * (8 + 5)),
        ("transposed", lambda x: attend(x.mT), 3 * 2 * 8 * 8 * 8),
        ("keys shared by all heads", lambda x: attend(x, x[:, :1]), 3 * 2 * 8 * 8 * 8),
        ("keys shared in groups", lambda x: attend(x.expand(2, 3, 8, 8).reshape(1, 6, 8, 8), x, enable_gqa=True), None),
        ("causal", lambda x: attend(x, is_causal=True), 3 * 2 * 8 * 8 * 8),
        ("mask", lambda x: attend(x, attn_mask=MASK), 3 * 2 * 8 * 8 * 8),
        ("mask of truths", lambda x: attend(x, attn_mask=TRUTHS), 3 * 2 * 8 * 8 * 8),
        ("mask that learns", lambda x: attend(x, attn_mask=nn.Parameter(MASK)), 3 * 2 * 8 * 8 * 8),
        ("dropout", lambda x: attend(x, dropout_p=0.1), 3 * 2 * 8 * 8 * 8),
        ("in inference mode", torch.inference_mode()(attend), 3 * 2 * 8 * 8 * 8),
        ("by operator", lambda x: torch.ops.aten.scaled_dot_product_attention(x, x, x), 3 * 2 * 8 * 8 * 8),
        ("its kernel", lambda x: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x)[0], 3 * 2 * 8**3),
    ],
)
def test_attention_counts_as_two_products(name: str, function: Any, macs: int | None) -> None:
    """Over S places of width d each of L places makes 2 S d products, whether or not torch has one kernel for it.

    The matrices within are no result; what is written before, six heads made of three, is.
    """
    expected = (6 * 2 * 8 * 8 * 8, 6 * 8 * 8) if macs is None else (macs, 0)
    assert count_operations(Wrapped(function), (8, 8)) == expected


def test_attention_counts_as_the_products_it_stands_for() -> None:
    """Written out, it makes as many."""

    def explicit(x: torch.Tensor) -> torch.Tensor:
        return (x @ x.mT).softmax(-1) @ x

    (macs, written), (same, more) = (
        count_operations(Wrapped(attend), (8, 8)),
        count_operations(Wrapped(explicit), (8, 8)),
    )
    assert macs == same
    assert more - written == 3 * 8 * 8  # the softmax


class Rows(nn.Module):
    """A layer that takes an image as 16 places of width 12."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What it makes of them."""
        q = x.reshape(1, -1, 12)
        return self.layer(q, q, q, need_weights=False)[0] if isinstance(self.layer, MHA) else self.layer(q)


MHA = nn.MultiheadAttention
MHA_MACS = 4 * 16 * 12 * 12 + 2 * 16 * 16 * 12


def test_multihead_attention_is_not_hidden_by_its_shortcut() -> None:
    """nn.MultiheadAttention in eval mode counts its four projections and both products."""
    assert count_operations(Rows(MHA(12, 2, batch_first=True)), (8, 8))[0] == MHA_MACS


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layer_is_not_hidden_by_its_shortcut(norm_first: bool) -> None:
    """nn.TransformerEncoderLayer counts its attention and two more products; norms, sums and ReLU are written."""
    layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, norm_first=norm_first)
    macs, written = count_operations(Rows(layer), (8, 8))
    assert macs == MHA_MACS + 2 * 16 * 12 * 24
    assert written >= 4 * 16 * 12 + 16 * 24


def test_shortcuts_themselves_count() -> None:
    """Called by hand, they hide nothing either."""
    layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
    own = layer.self_attn
    given = (12, 2, own.in_proj_weight, own.in_proj_bias, own.out_proj.weight, own.out_proj.bias)
    norms = (layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias)
    linear = (layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias)

    def attention_alone(x: torch.Tensor) -> torch.Tensor:
        return torch._native_multi_head_attention(*[x.reshape(1, -1, 12)] * 3, *given)[0]

    def whole(x: torch.Tensor) -> torch.Tensor:
        return torch._transformer_encoder_layer_fwd(x.reshape(1, -1, 12), *given, False, False, 1e-5, *norms, *linear)

    assert count_operations(Wrapped(attention_alone), (8, 8)) == (MHA_MACS, 0)
    assert count_operations(Wrapped(whole), (8, 8)) == (MHA_MACS + 2 * 16 * 12 * 24, 0)


V, M, W = torch.randn(8), torch.randn(8, 8), torch.ones(3)


@pytest.mark.parametrize(
    ("name", "function", "macs"),
    [
        ("mv", lambda x: x @ V, 3 * 8 * 8),
        ("dot", lambda x: x.flatten()[:8] @ V, 8),
        ("vdot", lambda x: torch.vdot(x.flatten()[:8], V), 8),
        ("addmv", lambda x: torch.addmv(V, x[0, 0], V), 8 * 8),
        ("bmm", lambda x: x[0] @ x[0], 3 * 8**3),
        ("addbmm", lambda x: torch.addbmm(M, x[0], x[0]), 3 * 8**3),
        ("baddbmm", lambda x: torch.baddbmm(x[0], x[0], x[0]), 3 * 8**3),
        ("einsum", lambda x: torch.einsum("nchw,wk->nchk", x, M), 3 * 8**3),
    ],
)
def test_every_product_counts(name: str, function, macs: int) -> None:
    """Products of vectors and matrices count, under whatever name."""
    assert count_operations(Wrapped(function), (8, 8))[0] == macs


@pytest.mark.parametrize(
    ("name", "function", "elements"),
    [
        ("view", lambda x: x.view(1, 3, 64).transpose(1, 2)[:, 1:], 0),
        ("fresh", lambda x: torch.zeros(5, 5), 0),
        ("like", lambda x: torch.ones_like(x), 0),
        ("pointwise", lambda x: x.sigmoid() * x, 2 * 192),
        ("in place", lambda x: (x * 2).add_(1), 2 * 192),
        ("reduction", lambda x: x.amax((2, 3)), 3),
        ("norm", lambda x: F.batch_norm(x, V[:3], W), 192),
        ("pooling", lambda x: F.avg_pool2d(x, 2), 48),
        ("softmax", lambda x: x.softmax(1), 192),
        ("copy", lambda x: x.transpose(2, 3).contiguous(), 192),
        ("join", lambda x: torch.cat((x, x)), 384),
        ("resampling", lambda x: F.interpolate(x, scale_factor=2), 768),
    ],
)
def test_every_other_operation_counts_what_it_writes(name: str, function, elements: int) -> None:
    """Point-wise work, reductions, pooling, norms and copies count what they write; views and buffers nothing."""
    assert count_operations(Wrapped(function), (8, 8)) == (0, elements)


def test_mechanism_without_products_is_seen() -> None:
    """SimAM makes no product that counts as MACs and writes several times the map."""
    base, net = Tiny(), Tiny(attention.load("simam").Attention())
    (macs, written), (same, more) = count_operations(base, (16, 16)), count_operations(net, (16, 16))
    assert macs == same
    assert more - written > 3 * 4 * 256


def test_network_that_decides_by_numbers_counts_the_same() -> None:
    """Where a network can't be run without numbers it is run in earnest, with the same products."""
    assert count_operations(Decides(), (6, 8))[0] == count_operations(Tiny(), (6, 8))[0]


def test_network_is_left_as_it_was() -> None:
    """Counting changes neither weights, statistics, modes nor random states."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.random.get_rng_state()
    count_operations(net, (8, 8))
    assert net.training
    assert not net[1].training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_error_of_the_network_itself_is_told() -> None:
    """A network that can't take the images fails with its own error."""
    with pytest.raises(RuntimeError, match="channels"):
        count_operations(nn.Conv2d(4, 4, 3), (8, 8))


def test_a_compiled_network_is_counted_uncompiled() -> None:
    """Compiled kernels would look for the numbers of tensors without any; the network stays compiled afterwards."""
    calls = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        def kernel(*args: Any) -> Any:
            calls.append(args)
            return graph(*args)

        return kernel

    net = Tiny()  # torch 2.6 compiles no layer of its own alone
    net.compile(backend=backend)
    seen = run_on_fake_tensors(net, (4, 3, 6, 8), lambda network, x, own: network(x).shape, training=False)
    assert (seen, calls) == ((4, 5), [])
    net(torch.zeros(4, 3, 6, 8))
    assert len(calls) == 1
