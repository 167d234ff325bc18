"""Own facts of GCT."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import attention, model
from attncli.attention.channel.gct import Attention, spatial_energy
from attncli.recipe import Model, Recipe
from attncli.train.parameter_groups import group_parameters
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"eps": 0.1},
    {"mode": "l1"},
    {"mode": "l1", "after_relu": True},
    {"across": "sum"},
    {"mode": "l1", "across": "sum"},
    {"weight_decay_on_beta": True},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """alpha, gamma, beta of each channel."""
    return 3 * facts["channels"]


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """GCT(num_channels, epsilon=1e-5, mode='l2', after_relu=False): parameters are (1, C, 1, 1) there."""
    ctor = meta["ctor"]
    module = Attention(
        ctor["num_channels"],
        eps=ctor.get("epsilon", 1e-5),
        mode=ctor.get("mode", "l2"),
        after_relu=ctor.get("after_relu", False),
    )
    return module, {k: v.flatten(1) for k, v in params.items()}


def test_total_of_the_card() -> None:
    """Before every convolution of resnet50 the parameters are 67,593, fewer than SE's 2,514,944 (gct-params)."""
    widths = [3]
    width = 64
    for w, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        widths += [width]  # the shortcut's convolution
        for _ in range(blocks):
            widths += [width, w, w]
            width = 4 * w
    assert len(widths) == 53
    assert sum(parameters({"channels": c}, {}) for c in widths) == 67_593


def test_hand_computed_gate() -> None:
    """One pixel (3, 4): energies sqrt(9 + eps), sqrt(16 + eps), their root mean square, then 1 + tanh."""
    module = Attention(2).double()
    with torch.no_grad():
        module.gamma.copy_(torch.tensor([[0.5, -0.25]]))
        module.beta.copy_(torch.tensor([[0.125, 0.0]]))
    x = torch.tensor([3.0, 4.0], dtype=torch.float64).view(1, 2, 1, 1)
    eps = 1e-5
    rms = math.sqrt((9 + eps + 16 + eps) / 2 + eps)
    expected = [
        3 * (1 + math.tanh(0.5 * math.sqrt(9 + eps) / rms + 0.125)),
        4 * (1 + math.tanh(-0.25 * math.sqrt(16 + eps) / rms)),
    ]
    torch.testing.assert_close(module(x).flatten().tolist(), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("options", "ratios"),
    [
        ({"mode": "l1"}, (3 / 3.5, 4 / 3.5)),
        ({"mode": "l1", "across": "sum"}, (3 / 7, 4 / 7)),
        ({"across": "sum"}, (3 / 5, 4 / 5)),
    ],
)
def test_variants_of_the_norm(options: dict[str, Any], ratios: tuple[float, float]) -> None:
    """One pixel (-3, 4), gamma = 1, eps -> 0: the gates are 1 + tanh of each energy over the named norm."""
    module = Attention(2, eps=1e-14, **options).double()
    nn.init.ones_(module.gamma)
    x = torch.tensor([-3.0, 4.0], dtype=torch.float64).view(1, 2, 1, 1)
    expected = x * (1 + torch.tensor(ratios, dtype=torch.float64).tanh()).view(1, 2, 1, 1)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=0)


def test_after_relu_skips_the_absolute_value() -> None:
    """For a map without negative values after_relu changes nothing; for others it does."""
    plain, skipping = (randomise(Attention(8, mode="l1", after_relu=skip).double()) for skip in (False, True))
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    assert torch.equal(plain(x.abs()), skipping(x.abs()))
    assert not torch.allclose(plain(x), skipping(x))


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_identity_at_initialisation(mode: str) -> None:
    """A fresh module returns its input exactly (claim gct-identity), in training as in eval mode."""
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(Attention(8, mode=mode)(x), x)


def test_positive_gamma_competes_negative_cooperates() -> None:
    """The gate of b falls with the energy of another channel if gamma_b > 0, rises if < 0 (claim gct-competition)."""
    module = Attention(4).double()
    with torch.no_grad():
        module.gamma.copy_(torch.tensor([[0.7, -0.7, 0.3, -0.3]]))
    x = (torch.rand(1, 4, 1, 1, dtype=torch.float64) + 0.5).requires_grad_()
    for b in range(4):
        (grad,) = torch.autograd.grad((module(x)[0, b] / x.detach()[0, b]).sum(), x)
        others = [a for a in range(4) if a != b]
        assert (grad.flatten()[others].sign() == -module.gamma[0, b].sign()).all()


def test_first_step_leaves_alpha() -> None:
    """While gamma is 0, gamma and beta have a gradient and alpha has none."""
    module = Attention(4).double()
    module(torch.randn(2, 4, 3, 3, dtype=torch.float64)).square().sum().backward()
    assert module.alpha.grad.abs().max() == 0
    assert module.gamma.grad.abs().min() > 0
    assert module.beta.grad.abs().min() > 0


def test_only_beta_is_not_decayed() -> None:
    """The official script exempts beta, and beta alone: alpha and gamma are no vectors, which the default spares."""
    assert attention.describe_mechanism("gct").card.no_weight_decay == ("beta",)
    assert Attention(8).alpha.ndim == Attention(8).gamma.ndim == 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_energy_and_its_gradients(layout: torch.memory_format) -> None:
    """The sum of squares; first and second gradients agree with finite differences."""
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64).to(memory_format=layout)
    torch.testing.assert_close(spatial_energy(x), x.square().sum((2, 3)))
    x.requires_grad_()
    assert torch.autograd.gradcheck(spatial_energy, x)
    assert torch.autograd.gradgradcheck(spatial_energy, x)


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_half_precision_does_not_overflow(mode: str) -> None:
    """Values of 300 overflow float16 when squared or summed; the gate, taken in float32, stays right."""
    module = Attention(4, mode=mode)
    nn.init.ones_(module.gamma)
    x = torch.full((1, 4, 32, 32), 300.0)
    with torch.autocast("cpu", torch.float16):
        y = module(x.half())
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.float(), module(x), rtol=1e-3, atol=0)


@pytest.mark.parametrize("options", [{"eps": 0.0}, {"mode": "l3"}, {"across": "max"}])
def test_refusals(options: dict[str, Any]) -> None:
    """An eps that is not positive and unknown norms are refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)


@pytest.mark.parametrize("decayed", [False, True])
def test_decay_on_beta_is_an_option(decayed: bool) -> None:
    """beta is in the group without weight decay unless the option is set; alpha and gamma never are."""
    made = Recipe(model=Model(backbone="resnet20", attn="gct", options={"weight_decay_on_beta": decayed}))
    net = model.build(made, model.InputSpec(10, (32, 32)))
    rates = {id(p): g["weight_decay"] for g in group_parameters(net, made.train, "gct") for p in g["params"]}
    found: dict[str, set[bool]] = {}
    for module in model.find_mechanisms(net).values():
        for name, p in module.named_parameters():
            found.setdefault(name, set()).add(rates[id(p)] > 0)
    assert found == {"alpha": {True}, "gamma": {True}, "beta": {decayed}}
