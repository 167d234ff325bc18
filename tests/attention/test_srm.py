"""Own facts of SRM."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import attention
from attncli.attention.channel.srm import Attention, spatial_moments
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"eps": 0.1},
    {"unbiased": False},
    {"style": "variance"},
    {"pooling": "mean"},
    {"pooling": "deviation"},
    {"integration": "mlp"},
    {"integration": "mlp", "pooling": "mean", "reduction": 4},
]

RESNET50 = (256,) * 3 + (512,) * 4 + (1024,) * 6 + (2048,) * 3


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """K C weights of K styles, or K C h + h C of the MLP, and 2 C of the norm."""
    c, styles = facts["channels"], 2 if options.get("pooling", "both") == "both" else 1
    if options.get("integration") == "mlp":
        h = max(c // options.get("reduction", 16), 1)
        return styles * c * h + h * c + 2 * c
    return styles * c + 2 * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SRMLayer(channel): `cfc` is our w."""
    return Attention(meta["ctor"]["channel"]), {k.replace("cfc", "w"): v for k, v in params.items()}


def test_total_of_the_card() -> None:
    """Over the blocks of resnet50 the parameters are 60,416 (srm-params)."""
    assert sum(sum(p.numel() for p in Attention(c).parameters()) for c in RESNET50) == 60_416


def test_gate_is_a_half_at_initialisation() -> None:
    """A fresh module in eval mode halves its input exactly (claim srm-init)."""
    x = torch.randn(2, 8, 5, 3)
    assert torch.equal(Attention(8).eval()(x), 0.5 * x)


def test_hand_computed_gate() -> None:
    """Values 1, 3: mean 2, unbiased deviation sqrt(2 + 1e-5); the norm in eval mode divides by sqrt(1 + 1e-5)."""
    module = Attention(1).double().eval()
    with torch.no_grad():
        module.w.copy_(torch.tensor([[0.5, -2.0]]))
    x = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    z = 0.5 * 2 - 2 * math.sqrt(2 + 1e-5)
    s = 1 / (1 + math.exp(-z / math.sqrt(1 + 1e-5)))
    torch.testing.assert_close(module(x), x * s, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("options", "style"), [({"unbiased": False}, math.sqrt(1.25)), ({"style": "variance"}, 2.25)])
def test_variants_of_the_second_style(options: dict[str, Any], style: float) -> None:
    """Values 1, 3 with eps 0.25: the biased deviation is sqrt(1.25), the unbiased variance 2.25."""
    module = Attention(1, eps=0.25, **options).double().eval()
    with torch.no_grad():
        module.w.copy_(torch.tensor([[0.0, 1.0]]))
    x = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    s = torch.tensor(style / math.sqrt(1 + 1e-5), dtype=torch.float64).sigmoid()
    torch.testing.assert_close(module(x), x * s, rtol=0, atol=1e-14)


@pytest.mark.parametrize("integration", ["cfc", "mlp"])
@pytest.mark.parametrize("pooling", ["both", "mean", "deviation"])
def test_parts_of_the_ablation(pooling: str, integration: str) -> None:
    """By the formula with torch's own moments: which styles are pooled, and what makes one number of them."""
    module = randomise(Attention(6, pooling=pooling, integration=integration, reduction=3).double()).eval()
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64)
    styles = {"mean": x.mean((2, 3)), "deviation": (x.var((2, 3)) + 1e-5).sqrt()}
    pooled = [style for name, style in styles.items() if pooling in (name, "both")]
    if integration == "mlp":
        squeeze, expand = module.mlp[0].weight, module.mlp[2].weight
        assert squeeze.shape == (2, 6 * len(pooled))
        z = (torch.cat(pooled, 1) @ squeeze.T).relu() @ expand.T
    else:
        z = (torch.stack(pooled, 2) * module.w).sum(2)
    torch.testing.assert_close(module(x), x * module.bn(z).sigmoid()[:, :, None, None])


@pytest.mark.parametrize("options", [{"integration": "mlp"}, {"pooling": "mean"}, {"pooling": "deviation"}], ids=str)
def test_gate_of_every_part_is_a_half_at_initialisation(options: dict[str, Any]) -> None:
    """In training and in evaluation; and the first step changes it, for a gradient reaches the zeros."""
    torch.manual_seed(1)
    module, x = Attention(8, reduction=2, **options), torch.randn(3, 8, 5, 3)
    assert torch.equal(module.eval()(x), 0.5 * x)
    assert torch.equal(module.train()(x), 0.5 * x)
    module(x).square().sum().backward()
    last = module.mlp[2].weight if "integration" in options else module.w
    assert last.grad.abs().max() > 0


def test_channels_are_independent() -> None:
    """In eval mode the output of a channel does not depend on any other channel (claim srm-independence)."""
    module = randomise(Attention(6).double()).eval()
    x = torch.randn(1, 6, 4, 4, dtype=torch.float64, requires_grad=True)
    module(x)[0, 2].sum().backward()
    assert x.grad[0].abs().sum((1, 2)).nonzero().flatten().tolist() == [2]


def test_only_mean_and_deviation_count() -> None:
    """Permuting the pixels leaves the gate as it is (claim srm-style)."""
    module = randomise(Attention(8).double()).eval()
    x = torch.randn(2, 8, 20, 1, dtype=torch.float64)
    order = torch.randperm(20)
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order], rtol=0, atol=1e-14)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_and_their_gradients(layout: torch.memory_format) -> None:
    """Mean and variance equal torch's own; first and second gradients agree with finite differences."""
    x = torch.randn(2, 3, 3, 2, dtype=torch.float64).to(memory_format=layout)
    mean, variance = spatial_moments(x, 5)
    expected = torch.var_mean(x, dim=(2, 3))
    torch.testing.assert_close((variance, mean), expected, rtol=1e-12, atol=1e-14)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spatial_moments(x, 5), x)
    assert torch.autograd.gradgradcheck(lambda x: spatial_moments(x, 5), x)


def test_a_large_mean_does_not_drown_the_deviation() -> None:
    """In float32 a deviation of 1 beside a mean of 1000 is still right to 1e-4, as centring comes before squaring."""
    x = torch.randn(1, 4, 32, 32) + 1000
    _, variance = spatial_moments(x, 32 * 32 - 1)
    torch.testing.assert_close(variance, x.double().var((2, 3)).float(), rtol=1e-4, atol=0)


def test_moments_stay_in_float32_under_autocast() -> None:
    """Of a bf16 map, under autocast, the moments are those of its values to 1e-5, in either layout."""
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 8, 9, 7).bfloat16().to(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16):
            mean, variance = spatial_moments(x, 62)
        torch.testing.assert_close(mean, x.double().mean((2, 3)).float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(variance, x.double().var((2, 3)).float(), rtol=1e-5, atol=0)


def test_a_single_pixel_has_no_deviation() -> None:
    """On a 1 x 1 map the variance counts as 0: the gate is finite and rests on the mean alone."""
    module = randomise(Attention(8).double()).eval()
    x = torch.randn(4, 8, 1, 1, dtype=torch.float64)
    z = module.w[:, 0] * x.flatten(1) + module.w[:, 1] * math.sqrt(1e-5)
    torch.testing.assert_close(module(x), x * module.bn(z).sigmoid()[:, :, None, None])


def test_nothing_of_it_is_decayed() -> None:
    """Every parameter is exempt from weight decay, as in the official script."""
    exempt = attention.describe_mechanism("srm").card.no_weight_decay
    assert all(name.startswith(exempt) for name, _ in Attention(8).named_parameters())


@pytest.mark.parametrize(
    "options", [{"eps": 0.0}, {"style": "median"}, {"pooling": "max"}, {"integration": "fc"}, {"reduction": 0}]
)
def test_refusals(options: dict[str, Any]) -> None:
    """An eps that is not positive, a reduction below 1 and unknown names are refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)
