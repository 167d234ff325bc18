"""Own facts of the global context block."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.spatial.gc import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"ratio": 0.25},
    {"min_hidden": 1, "ratio": 0.125},
    {"pooling": "avg"},
    {"fusion": "mul"},
    {"fusion": "both"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Pooling C + 1; each transform 2 C h + 3 h + C."""
    c = facts["channels"]
    h = max(int(c * options.get("ratio", 1 / 16)), options.get("min_hidden", 4))
    transforms = 2 if options.get("fusion") == "both" else 1
    return (0 if options.get("pooling") == "avg" else c + 1) + transforms * (2 * c * h + 3 * h + c)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """ContextBlock(inplanes, ratio, pooling_type, fusion_types): conv_mask, channel_add_conv, channel_mul_conv."""
    ctor = meta["ctor"]
    fusions = {f.removeprefix("channel_") for f in ctor.get("fusion_types", ["channel_add"])}
    module = Attention(
        ctor["inplanes"],
        ratio=ctor["ratio"],
        min_hidden=1,
        pooling=ctor.get("pooling_type", "att"),
        fusion="both" if len(fusions) == 2 else fusions.pop(),
    )
    names = {"conv_mask": "mask", "channel_add_conv": "add", "channel_mul_conv": "mul"}
    state = {}
    for name, value in params.items():
        layer, _, rest = name.partition(".")
        state[f"{names[layer]}.{rest}"] = value.flatten(1) if value.ndim == 4 else value.flatten()
    return module, state


def test_every_position_receives_the_same() -> None:
    """y - x does not change over the map (claim gc-position-free)."""
    module = randomise(Attention(16).double())
    x = torch.randn(2, 16, 5, 4, dtype=torch.float64)
    added = module(x) - x
    torch.testing.assert_close(added, added.mean((2, 3), keepdim=True).expand_as(added))
    assert added.abs().max() > 0.1


def test_hand_computed_context() -> None:
    """Logits 0 and log 3 weigh two positions 1/4 and 3/4."""
    module = Attention(1).double()
    nn.init.ones_(module.mask.weight)
    x = torch.tensor([1.0, 3.0], dtype=torch.float64).log().view(1, 1, 1, 2)
    a = module.position_weights(x)
    torch.testing.assert_close(a.flatten(), torch.tensor([0.25, 0.75], dtype=torch.float64))
    torch.testing.assert_close(module.pool_context(x).flatten(), 0.75 * x.flatten()[1:])


def test_zero_mask_pools_the_mean() -> None:
    """With w = 0 attention pooling is the plain mean."""
    att, avg = Attention(8).double(), Attention(8, pooling="avg").double()
    nn.init.zeros_(att.mask.weight)
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(att.pool_context(x), avg.pool_context(x))


def test_multiplied_form_starts_at_one_half() -> None:
    """fusion=mul, zero last layer: sigmoid(0)."""
    x = torch.randn(2, 32, 3, 3)
    assert torch.equal(Attention(32, fusion="mul")(x), x / 2)


@pytest.mark.parametrize("options", [{"pooling": "max"}, {"fusion": "cat"}, {"ratio": 0.0}, {"min_hidden": 0}])
def test_refusals(options: dict[str, Any]) -> None:
    """What makes no block is refused with the option's name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(16, **options)
