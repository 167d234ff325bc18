"""Built-in attention taken out, and a mechanism put in its place."""

from typing import Any

import pytest
import torch

from attncli import model
from attncli.errors import UserError
from attncli.measure.cost import count_recipe_parameters
from attncli.recipe import Recipe, read
from attncli.run.naming import name_baseline

SHAPE = model.InputSpec(1000, (224, 224))


def recipe(backbone: str, attn: str = "none", **keys: Any) -> Recipe:
    """A recipe that replaces the built-in squeeze-and-excitation."""
    keys = {"replace": "se"} | keys
    return read(values={"model.backbone": backbone, "model.attn": attn, **{f"model.{k}": v for k, v in keys.items()}})


def excitations(expanded: list[int], squeezed: list[int]) -> int:
    """Parameters of squeeze-and-excitation with biases, from C to s channels and back."""
    return sum(2 * c * s + c + s for c, s in zip(expanded, squeezed, strict=True))


LARGE = [72, 120, 120, 480, 672, 672, 960, 960]
B0 = [32, 96, 144, 144, 240, 240, 480, 480, 480, 672, 672, 672, 1152, 1152, 1152, 1152]
BUILT_IN = {  # by the widths in the papers' tables
    "mobilenet_v3_large": excitations(LARGE, [24, 32, 32, 120, 168, 168, 240, 240]),
    "efficientnet_b0": excitations(B0, [8, 4, 6, 6, 10, 10, 20, 20, 20, 28, 28, 28, 48, 48, 48, 48]),
}


@pytest.mark.parametrize("backbone", BUILT_IN)
def test_the_plain_network_has_none(backbone: str) -> None:
    """With attn none it is taken out: what goes is the sum over the paper's table of blocks."""
    whole = count_recipe_parameters(recipe(backbone, replace=None), SHAPE)
    assert whole - count_recipe_parameters(recipe(backbone), SHAPE) == BUILT_IN[backbone]


def paths(net: torch.nn.Module) -> list[str]:
    """Where the mechanism sits."""
    return [path.removesuffix(".attn") for path in model.find_mechanisms(net)]


def test_a_mechanism_goes_where_the_excitation_was() -> None:
    """At the same places and widths, and everything else is the plain network's to the last bit."""
    shape = model.InputSpec(10, (32, 32))
    net, without = (model.build(recipe("mobilenet_v3_small", attn), shape) for attn in ("eca", "none"))
    built_in = model.build(recipe("mobilenet_v3_small", replace=None), shape)
    assert paths(net) == [p for p, m in built_in.named_modules() if type(m).__name__ == "SqueezeExcitation"]
    own = {k: v for k, v in net.state_dict().items() if ".attn." not in k}
    assert own.keys() == without.state_dict().keys()
    assert all(torch.equal(v, own[k]) for k, v in without.state_dict().items())
    y = net(torch.randn(2, 3, 32, 32))
    y.sum().backward()
    assert y.shape == (2, 10)


def test_stages_choose_among_the_places() -> None:
    """Blocks that are not named get nothing, and lose the built-in attention like all others."""
    net = model.build(recipe("regnet_y_400mf", "eca", stages=[4], blocks=[-1]), model.InputSpec(10, (32, 32)))
    assert paths(net) == ["trunk_output.block4.block4-5.f.se"]
    assert not any(type(m).__name__ == "SqueezeExcitation" for m in net.modules())


def test_baseline_is_the_network_without() -> None:
    """The overhead of what replaces is over the network that has nothing there."""
    made = recipe("mobilenet_v3_small", "eca")
    assert made.make_baseline() == recipe("mobilenet_v3_small")
    assert name_baseline(made) == "mobilenet_v3_small without se"
    assert name_baseline(recipe("mobilenet_v3_small", "eca", replace=None)) == "mobilenet_v3_small"
    assert count_recipe_parameters(made, SHAPE) - count_recipe_parameters(made.make_baseline(), SHAPE) == 3 * 3 + 6 * 5


@pytest.mark.parametrize(
    ("backbone", "attn", "keys", "told"),
    [
        ("resnet18", "none", {}, "model.replace: se: the network has none built in"),
        ("resnet18", "eca", {}, "model.replace: se: the network has none built in"),
        ("mobilenet_v3_small", "eca", {"site": "gate"}, "model.site: with model.replace"),
        ("mobilenet_v3_small", "sk", {}, "written for the site conv"),
        ("mobilenet_v3_small", "vit", {}, "is a whole network"),
    ],
)
def test_refusals(backbone: str, attn: str, keys: dict[str, Any], told: str) -> None:
    """Nothing to replace, two places at once, a mechanism of another kind: a line each."""
    with pytest.raises(UserError, match=told):
        model.build(recipe(backbone, attn, **keys), model.InputSpec(10, (32, 32)))
