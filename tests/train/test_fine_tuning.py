"""Parts of a network that are frozen or slowed down."""

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from attncli import model
from attncli.errors import UserError
from attncli.model import InputSpec
from attncli.recipe import Recipe, read
from attncli.train.fine_tuning import freeze_parts
from attncli.train.parameter_groups import group_parameters

SPEC = InputSpec(10, (8, 8))
EVERY_PART = dict.fromkeys(("stem", "stage1", "stage2", "stage3", "classifier"), 0.0)


def make_recipe(factors: Mapping[str, float], attn: str = "none") -> Recipe:
    """The recipe of a resnet20 with factors of the learning rate."""
    return read(values={"model.backbone": "resnet20", "model.attn": attn, "train.lr_factors": dict(factors)})


def test_parts_are_frozen_and_slowed_down() -> None:
    """Factor 0 freezes weights and batch norms; the mechanism inside a frozen stage goes on training."""
    recipe = make_recipe({"stem": 0.0, "stage1": 0.0, "stage2": 0.1}, "eca")
    net = model.build(recipe, SPEC)
    parts = freeze_parts(net, recipe, (8, 8))
    assert parts is not None
    assert set(parts.values()) == {"stem", "stage1", "stage2", "stage3", "classifier", "attention"}
    frozen = {parts[name] for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {"stem", "stage1"}
    norms = [module for module in net.train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert sum(not norm.training for norm in norms) == 1 + 2 * 3  # the stem's, and two in each block of stage 1
    groups = group_parameters(net, recipe.train, "eca", parts)
    scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    named = {parts[name]: scales.get(id(p)) for name, p in net.named_parameters()}
    assert named == {"stem": None, "stage1": None, "stage2": 0.1, "stage3": 1, "classifier": 1, "attention": 1}
    assert recipe.compute_digest() != make_recipe({}, "eca").compute_digest()


def test_wrong_factors_are_refused() -> None:
    """An unknown part, and a network of which nothing is left to train."""
    net = model.build(make_recipe({}), SPEC)
    for factors, text in (({"stage4": 1.0}, "stage4"), (EVERY_PART, "every part is frozen")):
        with pytest.raises(UserError, match=text):
            freeze_parts(net, make_recipe(factors), (8, 8))


def test_a_parameter_that_the_module_has_fixed_stays_fixed() -> None:
    """A factor of another part does not train it; if all others are frozen, nothing is left."""
    recipe = make_recipe({"stem": 0.1}, "eca")
    net = model.build(recipe, SPEC)
    for parameter in net.layer2.parameters():
        parameter.requires_grad_(False)
    parts = freeze_parts(net, recipe, (8, 8))
    assert not any(parameter.requires_grad for parameter in net.layer2.parameters())
    assert all(parameter.requires_grad for parameter in net.layer3.parameters())
    optimized = {id(p) for group in group_parameters(net, recipe.train, "eca", parts) for p in group["params"]}
    assert optimized == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    plain = model.build(make_recipe({}), SPEC)
    for parameter in plain.layer2.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UserError, match="every part is frozen"):
        freeze_parts(plain, make_recipe({part: 0.0 for part in EVERY_PART if part != "stage2"}), (8, 8))


class OwnNorm(nn.BatchNorm2d):
    """A user's batch norm, without weights."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)

    def train(self, mode: bool = True) -> "OwnNorm":
        """Do what the class above does, as a user's may."""
        super().train(mode)
        return self


@pytest.mark.parametrize("attn", ["none", "srm", "bam"])
def test_every_batch_norm_of_a_frozen_part_keeps_its_statistics(attn: str) -> None:
    """Norms of vectors, without weights, of a user's class: in training the network computes what it is evaluated by.

    A copy does so too, and so does the network if parts are frozen again.
    """
    recipe = make_recipe(EVERY_PART | {"attention": 0.0, "classifier": 1.0}, attn)
    net = model.build(recipe, SPEC)
    net.bn1 = OwnNorm(net.bn1.num_features)
    for _ in range(2):
        freeze_parts(net, recipe, (8, 8))
    x, before = torch.randn(4, 3, 8, 8), copy.deepcopy(net.state_dict())
    expected = net.eval()(x)
    for network in (net, copy.deepcopy(net)):
        torch.testing.assert_close(network.train()(x), expected)
        assert network.fc.training
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert type(net.bn1) is OwnNorm
    assert {type(module) for module in net.modules() if isinstance(module, _BatchNorm)} <= {
        OwnNorm, nn.BatchNorm1d, nn.BatchNorm2d,
    }  # fmt: skip


def test_a_norm_of_a_part_that_trains_goes_on() -> None:
    """Also one without weights, of which no parameter tells the part."""
    recipe = make_recipe({"stage1": 0.0})
    net = model.build(recipe, SPEC)
    net.bn1, net.layer1[0].bn1 = OwnNorm(net.bn1.num_features), OwnNorm(net.layer1[0].bn1.num_features)
    freeze_parts(net, recipe, (8, 8))
    net.train()(torch.randn(4, 3, 8, 8))
    assert int(net.bn1.num_batches_tracked) == 1
    assert int(net.layer1[0].bn1.num_batches_tracked) == 0
