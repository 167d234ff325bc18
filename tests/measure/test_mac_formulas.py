"""The formulas of products: every operator that multiplies has one, and each counts what is worked out by hand."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from attncli import attention, backbones, model
from attncli.measure.fake_tensors import run_on_fake_tensors
from attncli.measure.flops import count_operations
from attncli.measure.mac_formulas import ATTENTION_KERNELS, count_macs, find_formula
from tests.attention.case import cases, forward
from tests.measure.nets import Wrapped
from tests.test_model import recipe

aten = torch.ops.aten
NAMES = re.compile(r"(mm|mv|dot)(_|\d|$)|matmul|gemm|(?<!upsample_)(?<!upsample_bi)(?<!upsample_tri)linear"
                   r"|conv(?!ert)|attention|encoder_layer|einsum|product|rnn|lstm|gru(_|$)")  # fmt: skip
NONE = ("aten::grid_sampler_2d", "aten::_prelu_kernel")  # samples; is point-wise, though torch does not tag it


class Listing(TorchDispatchMode):
    """Lists in `lacking` the operators that look like a product and have no formula."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.lacking: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and look at it."""
        self.seen += 1
        if find_formula(func) is None and (is_named_as_product(func) or is_fed_as_product(func, args)):
            self.lacking.add(str(func))
        return func(*args, **(kwargs or {}))


def is_named_as_product(operator: Any) -> bool:
    """Whether its name says so."""
    return NAMES.search(operator._schema.name.partition("::")[2]) is not None


def is_fed_as_product(operator: Any, args: tuple[Any, ...]) -> bool:
    """Whether it needs two tensors of real numbers and is not known to be something else, such as point-wise."""
    if torch.Tag.pointwise in operator.tags or operator._schema.is_mutable or operator._schema.name in NONE:
        return False
    needed = [t for t, a in zip(args, operator._schema.arguments, strict=False) if str(a.type) == "Tensor"]
    return sum(isinstance(t, Tensor) and t.is_floating_point() for t in needed) > 1


def lacking(network: Callable[..., Tensor], *inputs: Tensor) -> set[str]:
    """What a network runs that looks like a product and has no formula."""
    with torch.no_grad(), Listing() as listing:
        forward(network, inputs)
    assert listing.seen > 0
    return listing.lacking


@pytest.mark.parametrize("attn", attention.mechanism_names())
def test_products_of_a_mechanism_have_formulas(attn: str) -> None:
    """With each of its options, at every place its test file names."""
    own = [case for case in cases() if case.name == attn]
    found = {str(c): lacking(c.build().eval(), *c.inputs(dtype=torch.float32)) for c in own}
    assert {c: operators for c, operators in found.items() if operators} == {}


@pytest.mark.parametrize("backbone", backbones.backbone_names())
def test_products_of_a_backbone_have_formulas(backbone: str) -> None:
    """Also in what it takes from torchvision."""
    with torch.device("meta"):
        net = model.build(recipe("none", backbone), model.InputSpec(10, (32, 32)))
    assert run_on_fake_tensors(net, (1, 3, 32, 32), lambda network, x, _: lacking(network, x), training=False) == set()


@pytest.fixture
def strange() -> Iterator[Any]:
    """Operators that nobody knows, each of two tensors except the last."""
    with torch.library._scoped_library("attncli_test", "FRAGMENT") as library:
        for name in ("fused_mm", "blend", "linear2", "halve"):
            library.define(f"{name}(Tensor x{'' if name == 'halve' else ', Tensor y'}) -> Tensor")
            library.impl(name, lambda x, *_: x / 2, "CompositeExplicitAutograd")
        yield torch.ops.attncli_test


def test_a_product_without_a_formula_is_found(strange: Any) -> None:
    """By its name or by what it takes; what only changes numbers one by one is none."""
    x = torch.ones(2, 3, 4, 4)
    assert lacking(lambda t: strange.fused_mm(t, t) * t, x) == {"attncli_test.fused_mm.default"}
    assert lacking(lambda t: strange.blend(t, t) * t, x) == {"attncli_test.blend.default"}
    assert lacking(lambda t: strange.linear2(t, t[0, 0, 0, 0].long()), x) == {"attncli_test.linear2.default"}
    assert lacking(strange.halve, x) == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *[
            (n, True)
            for n in ("mm", "addmm_", "baddbmm", "mv", "dot", "vdot", "_int_mm", "_weight_int4pack_mm_for_cpu")
        ],
        *[(n, True) for n in ("linear", "_trilinear", "conv_tbc", "_slow_conv2d_forward", "mkldnn_rnn_layer")],
        *[(n, True) for n in ("_native_multi_head_attention", "_transformer_encoder_layer_fwd", "_cudnn_rnn")],
        *[(n, False) for n in ("cummax", "upsample_bilinear2d", "upsample_linear1d", "grid_sampler_2d", "clone")],
    ],
)
def test_names_of_products(name: str, said: bool) -> None:
    """What is known as one by its name."""
    packet = getattr(aten, name)
    assert is_named_as_product(getattr(packet, packet.overloads()[0])) == said


def kernels_of_attention() -> list[str]:
    """The kernels of attention that this version of torch has, with all their overloads."""
    return [n for n in torch._C._dispatch_get_all_op_names() if n.startswith(ATTENTION_KERNELS)]


@pytest.mark.parametrize("name", sorted(kernels_of_attention()))
def test_every_kernel_of_attention(name: str) -> None:
    """5 queries of width 4 in 2 x 6 heads meet 7 keys with values of width 3; backwards 3 products of 4 and 2 of 3."""
    packet, _, overload = name.removeprefix("aten::").partition(".")
    operator = getattr(getattr(aten, packet), overload or "default")
    q, k, v, out = (torch.empty(2, 6, *s, device="meta") for s in ((5, 4), (7, 4), (7, 3), (5, 3)))
    pairs = 2 * 6 * 5 * 7
    if packet.endswith("_backward"):
        assert count_macs(operator, (out, q, k, v), {}, None) == pairs * (3 * 4 + 2 * 3)
    else:
        assert count_macs(operator, (q, k, v), {}, (out, None)) == pairs * (4 + 3)


def empty(*shape: int) -> Tensor:
    """A tensor without numbers."""
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize(
    ("name", "args", "out", "expected"),
    [
        ("linear", (empty(2, 5, 3), empty(4, 3)), empty(2, 5, 4), 2 * 5 * 3 * 4),
        ("linear", (empty(2, 3), empty(3)), empty(2), 2 * 3),
        ("_scaled_mm", (empty(4, 3), empty(3, 5)), empty(4, 5), 4 * 3 * 5),
        ("_grouped_mm", (empty(2, 4, 3), empty(2, 3, 5)), empty(2, 4, 5), 2 * 4 * 3 * 5),
        ("_grouped_mm", (empty(8, 3), empty(2, 3, 5)), empty(8, 5), 8 * 3 * 5),  # rows cut in 2
        ("_grouped_mm", (empty(2, 4, 3), empty(3, 10)), empty(4, 10), 4 * 3 * 10),  # columns cut in 2
        ("_grouped_mm", (empty(4, 6), empty(6, 5)), empty(2, 4, 5), 4 * 6 * 5),  # what is summed over cut in 2
        ("conv_depthwise3d", (empty(1, 4, 5, 6, 7), empty(4, 1, 3, 3, 3)), empty(1, 4, 3, 4, 5), 4 * 60 * 27),
    ],
)
def test_operators_that_not_every_machine_runs(name: str, args: Any, out: Tensor, expected: int) -> None:
    """By their shapes alone."""
    if not hasattr(aten, name):
        pytest.skip("not in this version of torch")
    assert count_macs(getattr(aten, name).default, args, {}, out) == expected


M, V = torch.ones(8, 8), torch.ones(8)
EIGHT = torch.ones(3, 8, 8)
BYTES = torch.ones(32, 32, dtype=torch.int8)
WINDOWS = torch.ones(6, 3, 3, 3)


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("addmm_", lambda x: torch.zeros(8, 8).addmm_(x[0, 0], M), 8**3),
        ("baddbmm_", lambda x: torch.zeros(3, 8, 8).baddbmm_(x[0], EIGHT), 3 * 8**3),
        ("addmv_", lambda x: torch.zeros(8).addmv_(x[0, 0], V), 8**2),
        ("out", lambda x: torch.mm(x[0, 0], M, out=torch.empty(8, 8)), 8**3),
        ("by name", lambda x: aten.addmm(V, mat2=M, mat1=x[0, 0]), 8**3),
        ("_addmm_activation", lambda x: torch._addmm_activation(V, x[0, 0], M), 8**3),
        ("_int_mm", lambda x: torch._int_mm(BYTES, BYTES), 32**3),
        ("bilinear", lambda x: F.bilinear(x[0, 0], x[0, 0, :, :5], torch.ones(4, 8, 5)), 8 * (4 * 8 * 5 + 4 * 5)),
        ("thnn_conv2d", lambda x: torch._C._nn.thnn_conv2d(x, WINDOWS, (3, 3), None), 6 * 27 * 36),
        ("slow_conv_dilated2d", lambda x: torch._C._nn.slow_conv_dilated2d(x, WINDOWS, (3, 3), None), 6 * 27 * 36),
        (
            "slow_conv_transpose2d",
            lambda x: torch._C._nn.slow_conv_transpose2d(x, WINDOWS.mT.reshape(3, 6, 3, 3), (3, 3), None),
            3 * 64 * 6 * 9,
        ),
        ("conv_transpose2d", lambda x: F.conv_transpose2d(x, torch.ones(3, 2, 3, 3), groups=3), 3 * 64 * 2 * 9),
        ("conv_tbc", lambda x: torch.conv_tbc(x[0], torch.ones(3, 8, 5), torch.ones(5)), 8 * 5 * 3 * 8),
        ("conv2d of one image", lambda x: F.conv2d(x[0], WINDOWS), 6 * 27 * 36),
    ],
)
def test_products_by_hand(name: str, function: Any, expected: int) -> None:
    """Every way to multiply counts, writes nothing beside, and counts the same in inference mode."""
    assert count_operations(Wrapped(function), (8, 8)) == (expected, 0)
    assert count_operations(Wrapped(torch.inference_mode()(function)), (8, 8)) == (expected, 0)


def test_gradients_within_a_network() -> None:
    """A convolution's gradient costs as much again for its input, and again for its weight."""

    def differentiate(wanted: int) -> Callable[[Tensor], Tensor]:
        @torch.enable_grad()
        def function(x: Tensor) -> Tensor:
            x, weight = x.detach().requires_grad_(), WINDOWS.clone().requires_grad_()
            return torch.autograd.grad(F.conv2d(x, weight).sum(), (x, weight)[:wanted])[0]

        return function

    assert [count_operations(Wrapped(differentiate(n)), (8, 8))[0] for n in (1, 2)] == [
        2 * 6 * 27 * 36,
        3 * 6 * 27 * 36,
    ]


class Recurrent(nn.Module):
    """16 steps of width 12 through a recurrent layer of width 7."""

    def __init__(self, kind: type[nn.RNNBase], looks: bool) -> None:
        super().__init__()
        self.layer = kind(12, 7, batch_first=True)
        self.looks = looks

    def forward(self, x: Tensor) -> Tensor:
        """What it returns at each step."""
        y: Tensor = self.layer(x.reshape(-1, 16, 12))[0]
        return y if not self.looks or y.sum().item() < 1e9 else y * 2


@pytest.mark.parametrize("looks", [False, True], ids=["imagined", "in earnest"])
@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers(kind: type[nn.RNNBase], gates: int, looks: bool) -> None:
    """Each gate multiplies the input and the state at every step."""
    enabled = torch.backends.mkldnn.enabled
    assert count_operations(Recurrent(kind, looks), (8, 8))[0] == 16 * gates * 7 * (12 + 7)
    assert torch.backends.mkldnn.enabled == enabled
