"""What every mechanism must hold, with every one of its options."""

import copy
import math
import re
from fnmatch import fnmatch

import pytest
import torch

from attncli import attention
from tests.attention.case import Case, cases, forward, own, randomise

CASES = cases()


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference as a share of the largest value of b."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12)).item()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_output_shape_and_gradients(case: Case) -> None:
    """In training, the output has the shape that the site expects, and all but the card's dead parameters learn."""
    module = randomise(case.build().double().train())
    getattr(own(case.name), "settle", lambda module: None)(module)
    inputs = tuple(x.requires_grad_() for x in case.inputs(n=4))
    y = forward(module, inputs)
    assert y.shape == case.output_shape(n=4)
    assert y.isfinite().all()
    if hasattr(module, "loss"):  # parts of it may learn from that loss alone
        torch.manual_seed(4)
        module.loss(*inputs, torch.arange(4) % case.facts["classes"])[0].backward()
    else:
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(4), dtype=y.dtype)
        (y * weights).sum().backward()
    sizes = {name: 0.0 if p.grad is None else p.grad.abs().max().item() for name, p in module.named_parameters()}
    assert all(math.isfinite(size) for size in sizes.values())
    noise = 1e-10 * max(sizes.values(), default=0.0)  # what rounding leaves of a gradient that is zero
    learns_nothing = {name for name, size in sizes.items() if size <= noise}
    assert learns_nothing == {name for name in sizes if any(fnmatch(name, dead) for dead in case.dead_parameters())}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parameters_equal_formula(case: Case) -> None:
    """The number of parameters is the card's formula."""
    assert sum(p.numel() for p in case.build().parameters()) == own(case.name).parameters(case.facts, case.options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_eval_takes_one_sample_and_treats_samples_alone(case: Case) -> None:
    """In eval mode a batch of one works, and a sample's output does not depend on the rest of its batch."""
    module = randomise(case.build().double()).eval()
    inputs = case.inputs(n=3)
    first = tuple(x[: x.shape[0] // 3] for x in inputs)
    with torch.no_grad():
        alone = forward(module, first)
        together = forward(module, inputs)
    if getattr(module, "draws", False):  # a module that samples draws other numbers for another batch size
        assert alone.shape == together[: alone.shape[0]].shape
    else:
        torch.testing.assert_close(alone, together[: alone.shape[0]], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_precision_and_layout_agree(case: Case) -> None:
    """float32, channels_last and bf16 autocast agree with float64 up to a share of the largest value."""
    module = case.build().eval()
    inputs = case.inputs(n=4, dtype=torch.float32)
    with torch.no_grad():
        expected = forward(copy.deepcopy(module).double(), tuple(x.double() for x in inputs))
        for dtype, layout, tolerance in (
            (torch.float32, torch.contiguous_format, 2e-4),
            (torch.float32, torch.channels_last, 2e-4),
            (torch.bfloat16, torch.channels_last, 8e-2),
        ):
            module = module.to(memory_format=layout)
            laid = tuple(x.to(memory_format=layout) if x.ndim == 4 else x for x in inputs)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
                got = forward(module, tuple(x.to(dtype) for x in laid))
            assert got.isfinite().all(), (dtype, layout)
            assert relative(got, expected) <= tolerance, (dtype, layout)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_dict_round_trip(case: Case) -> None:
    """A state_dict loaded into a fresh module gives the same output to the last bit."""
    module = randomise(case.build(seed=0).double()).eval()
    other = case.build(seed=9).double().eval()
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        assert torch.equal(forward(module, case.inputs()), forward(other, case.inputs()))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_initialisation_depends_on_the_seed_alone(case: Case) -> None:
    """Two modules built from one seed are equal to the last bit, whatever was drawn before."""
    a, b = case.build(seed=5).state_dict(), case.build(seed=5).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("case", [c for c in CASES if not c.options], ids=str)
def test_identity_at_initialisation_where_the_card_says_so(case: Case) -> None:
    """A fresh module returns its input exactly if and only if its card says so."""
    if case.site in ("model", "frames-head", "join", "conv"):
        assert not attention.describe_mechanism(case.name).card.identity
        return
    module = case.build().double().eval()
    with torch.no_grad():
        (x,) = case.inputs()
        assert torch.equal(forward(module, (x,)), x) == attention.describe_mechanism(case.name).card.identity


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_option_says_whether_the_start_is_the_identity(case: Case) -> None:
    """With any option a fresh module returns its input, but for rounding, if and only if it, or its card, says so."""
    card = attention.describe_mechanism(case.name).card
    if card.site in ("model", "frames-head", "join", "conv"):
        return
    module = case.build().double().eval()
    says_so = getattr(module, "starts_as_identity", card.identity)
    (x,) = case.inputs()
    with torch.no_grad():
        y = forward(module, (x,))
    assert (y.shape == x.shape and torch.allclose(y, x, rtol=0, atol=1e-9)) is says_so


def test_types_of_options_are_spelled_out() -> None:
    """`attncli show` prints the type of an option as it is written, so it lists the allowed values itself."""
    known = {"int", "float", "bool", "str", "None", "tuple", "Literal"}
    for name in attention.mechanism_names():
        for option, parameter in attention.describe_mechanism(name).options.items():
            words = re.findall(r"\w+", re.sub(r"'[^']*'|\"[^\"]*\"", "", parameter.annotation))
            assert set(words) <= known, (name, option, parameter.annotation)
