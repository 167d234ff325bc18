"""Own facts of gather-excite."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.spatial.ge import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "theta"},
    {"variant": "theta-minus"},
    {"extent": 4, "reduction": 4},
    {"variant": "theta", "extent": 2},
    {"variant": "theta-minus", "extent": 4},
    {"variant": "theta-minus", "extent": 4, "count_padding": True},
    {"excite_relu": False, "reduction": 4},
    {"excite_bias": False, "reduction": 4},
]

RESNET50 = ((256, 56, 3), (512, 28, 4), (1024, 14, 6), (2048, 7, 3))


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """theta-minus 0; theta C H W + 2 C or, with an extent, 11 C log2 e; theta-plus 2 C h + h + C more, h = C // r."""
    c, (h, w) = facts["channels"], facts["size"]
    variant, extent = options.get("variant", "theta-plus"), options.get("extent", 0)
    if variant == "theta-minus":
        return 0
    gather = 11 * c * int(math.log2(extent)) if extent else c * h * w + 2 * c
    hidden = max(c // options.get("reduction", 16), 1)
    excite = 2 * c * hidden + (hidden + c) * options.get("excite_bias", True)
    return gather + (excite if variant == "theta-plus" else 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """GE(channels, feat_size, variant, extent=0, reduction=16), a transcription of the official prototxt."""
    args = meta["args"]
    variant = {"plus": "theta-plus", "theta": "theta", "minus": "theta-minus"}[args.get("variant", "plus")]
    extent = args.get("extent", 0)
    size = tuple(params["gather.conv1.weight"].shape[2:]) if params and not extent else None
    module = Attention(args["channels"], size, variant=variant, extent=extent, reduction=args.get("reduction", 16))
    state = {}
    for key, value in params.items():
        owner, name, leaf = key.split(".")
        number = int(name[-1])
        if owner == "mlp":
            state[f"excite.{2 * number - 1}.{leaf}"] = value
        elif name.startswith("norm"):
            state[f"gather.bn.{leaf}" if not extent else f"gather.{3 * number - 2}.{leaf}"] = value
        else:
            state[f"gather.{3 * number - 3}.{leaf}" if extent else f"gather.{leaf}"] = value if extent else value[:, 0]
    return module, state


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"variant": "theta"}, 5_549_568),
        ({}, 8_080_560),
        ({"variant": "theta", "extent": 8}, 498_432),
        ({"variant": "theta-minus"}, 0),
    ],
    ids=str,
)
def test_totals_of_the_card(options: dict[str, Any], total: int) -> None:
    """In the 16 blocks of resnet50 at 224 px the parameters are the card's (ge-plus-params, ge-minus-params)."""
    assert sum(n * parameters({"channels": c, "size": (d, d)}, options) for c, d, n in RESNET50) == total


def test_hand_computed_theta_minus() -> None:
    """Values 1, 3: every pixel is multiplied by sigmoid(2)."""
    x = torch.tensor([[[[1.0, 3.0]]]], dtype=torch.float64)
    expected = x / (1 + math.exp(-2))
    torch.testing.assert_close(Attention(1, variant="theta-minus")(x), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(("count_padding", "cell"), [(False, 5 / 4), (True, 5 / 9)])
def test_hand_computed_pool_of_theta_minus(count_padding: bool, cell: float) -> None:
    """Extent 2 on a 2 x 2 map: one cell of a 3 x 3 window, of which 4 pixels are in the map and 9 in all."""
    x = torch.tensor([[[[0.0, 1.0], [2.0, 2.0]]]], dtype=torch.float64)
    module = Attention(1, variant="theta-minus", extent=2, count_padding=count_padding)
    torch.testing.assert_close(module(x), x / (1 + math.exp(-cell)), rtol=1e-14, atol=0)


def test_hand_computed_theta() -> None:
    """Kernel (1, -2) on (3, 1): 1, over the root of the fresh norm's 1 + 1e-5."""
    module = Attention(1, (1, 2), variant="theta").double().eval()
    with torch.no_grad():
        module.gather.weight.copy_(torch.tensor([[[1.0, -2.0]]]))
    x = torch.tensor([[[[3.0, 1.0]]]], dtype=torch.float64)
    s = 1 / (1 + math.exp(-1 / math.sqrt(1 + 1e-5)))
    torch.testing.assert_close(module(x), x * s, rtol=1e-14, atol=0)


@pytest.mark.parametrize("variant", ["theta-plus", "theta", "theta-minus"])
@pytest.mark.parametrize("extent", [0, 2, 4])
def test_gate_is_constant_on_cells(variant: str, extent: int) -> None:
    """y / x is constant over the map for global extent and on e x e cells otherwise (claim ge-context)."""
    module = randomise(Attention(8, (8, 8), variant=variant, extent=extent).double()).eval()
    x = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    e = extent or 8
    s = (module(x) / x).unflatten(3, (8 // e, e)).unflatten(2, (8 // e, e))  # (N, C, H/e, e, W/e, e)
    torch.testing.assert_close(s, s[:, :, :, :1, :, :1].expand_as(s), rtol=1e-9, atol=1e-12)
    assert not extent or (s[:, :, 0] - s[:, :, 1]).abs().max() > 1e-6


def test_excite_relu_and_bias() -> None:
    """The ReLU before the first excite convolution and the biases are the prototxt's; both can be left out."""
    assert [type(m).__name__ for m in Attention(8, (2, 2)).excite] == ["ReLU", "Conv2d", "ReLU", "Conv2d"]
    bare = Attention(8, (2, 2), excite_relu=False, excite_bias=False)
    assert type(bare.excite[0]).__name__ == "Identity"
    assert not any("bias" in name for name, _ in bare.excite.named_parameters())


def test_initialisation() -> None:
    """Kernels start normal with deviation sqrt(2 / (H W)), or sqrt(2 / 9); excite with 0.01 and biases 0."""
    module = Attention(512, (9, 7))
    assert abs(module.gather.weight.std().item() / math.sqrt(2 / 63) - 1) < 0.02
    assert abs(Attention(2048, extent=2).gather[0].weight.std().item() / math.sqrt(2 / 9) - 1) < 0.02
    for layer in (module.excite[1], module.excite[3]):
        assert abs(layer.weight.std().item() / 0.01 - 1) < 0.05
        assert layer.bias.abs().max() == 0


def test_another_size_is_refused() -> None:
    """A kernel of one size does not fit a map of another, and the message tells both."""
    with pytest.raises(ValueError, match="9 x 7, the map 8 x 7"):
        Attention(8, (9, 7))(torch.zeros(2, 8, 8, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "size"),
        ({"variant": "theta-pair"}, "theta-pair"),
        ({"extent": 3}, "extent=3"),
        ({"extent": 1}, "extent=1"),
        ({"extent": 4, "reduction": 0}, "reduction"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    """A global kernel without the map's size, unknown variants and extents that are no power of two are refused."""
    with pytest.raises(ValueError, match=message):
        Attention(8, **options)
