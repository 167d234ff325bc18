"""Several mechanisms in one network: `--attn se+simam`, each at its site and with its options."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from attncli import attention, model, validation
from attncli.analysis.network_key import make_network_key
from attncli.errors import UserError
from attncli.measure.code_state import name_training_code
from attncli.measure.site_costs import list_site_costs
from attncli.recipe import Recipe, Train
from attncli.track.tags import find_category, flatten_params, format_run_name
from attncli.train.parameter_groups import group_parameters

SHAPE = model.InputSpec(10, (32, 32))


def read(attn: str, *overrides: str) -> Recipe:
    """The recipe of resnet20 with mechanisms."""
    return validation.read(None, overrides, {"model.backbone": "resnet20", "model.attn": attn})


def build(attn: str, *overrides: str) -> nn.Module:
    """The network of resnet20 with mechanisms."""
    return model.build(read(attn, *overrides), SHAPE)


def count(attn: str, *overrides: str) -> int:
    """The number of parameters of the network."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(attn, *overrides).parameters())


def paths(net: nn.Module) -> list[str]:
    """The places of its mechanisms in the first block."""
    return [p for p in model.find_mechanisms(net) if p.startswith("layer1.0.")]


def test_each_goes_to_its_own_site_and_the_parameters_add_up() -> None:
    """SE ends the branch, SimAM follows the last convolution; each has what it has alone, to the last bit."""
    net, alone = build("se+simam"), build("se")
    assert paths(net) == ["layer1.0.conv2.attn", "layer1.0.bn2.attn"]
    own = net.state_dict()
    for name, value in alone.state_dict().items():
        assert torch.equal(own[name.replace("conv2.", "conv2.host.")], value), name
    assert count("se+eca") - count("se") == count("eca") - count("none")


def pass_order(net: nn.Module) -> list[str]:
    """The classes of the mechanisms of the first block, in the order in which a map passes them."""
    order: list[str] = []
    for path, module in model.find_mechanisms(net).items():
        if path.startswith("layer1.0."):
            module.register_forward_hook(lambda m, i, y: order.append(type(m).__module__.rpartition(".")[2]))
    net.eval()(torch.zeros(1, 3, 32, 32))
    return order


@pytest.mark.parametrize("site", ["gate", "mid", "block-input", "stage"])
@pytest.mark.parametrize("attn", ["eca+simam", "simam+eca"])
def test_at_one_site_they_stand_in_order(attn: str, site: str) -> None:
    """Before a submodule and after it: the map passes the first one first."""
    assert pass_order(build(attn, f"model.site={site}")) == attn.split("+")


def test_inner_and_outer_places_and_replaced_convolutions_go_together() -> None:
    """A gate in a block that is followed by another one, and behind a convolution that was replaced with its norm."""
    net = build("bam+eca+dyconv+gct").eval()
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    kinds = [type(m).__module__.rpartition(".")[2] for m in model.find_mechanisms(net).values()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"bam": 2, "eca": 9, "dyconv": 18, "gct": 19}
    assert {cost.attn for cost in list_site_costs(read("bam+eca"), SHAPE)} == {"bam", "eca"}


def test_options_belong_to_their_mechanism() -> None:
    """`model.options.se.reduction` is SE's; names, parameters of MLflow and digests show it."""
    recipe = read("se+eca", "model.options.se.reduction=8")
    assert format_run_name(recipe) == "se+eca[se.reduction=8]-resnet20-s0"
    assert flatten_params(recipe)["model.options.se.reduction"] == "8"
    assert find_category(recipe) == "combined"
    assert recipe.compute_digest() != read("se+eca").compute_digest()
    added = count("se+eca", "model.options.se.reduction=8") - count("se+eca")
    assert added == count("se", "model.options.reduction=8") - count("se") > 0


def test_it_is_an_arm_of_its_own() -> None:
    """Its network and its code are those of no single mechanism; a default that is written out changes nothing."""
    keys = {make_network_key(read(attn).model) for attn in ("se", "eca", "se+eca", "eca+se")}
    assert len(keys) == 4
    assert make_network_key(read("se+eca", "model.options.se.reduction=16").model) in keys
    codes = {name_training_code(read(attn)) for attn in ("se", "eca", "se+eca")}
    assert len(codes) == 3


def test_rules_of_training_hold_for_each(tmp_path: Path) -> None:
    """The card of one mechanism does not decide about the parameters of another, nor a user's file about ours."""
    undecayed = {}
    with torch.device("meta"):
        for attn in ("stn+se", "stn", "se"):
            groups = group_parameters(build(attn), Train(), attn)
            undecayed[attn] = {
                (group["weight_decay"], group["lr_scale"]): sum(p.numel() for p in group["params"]) for group in groups
            }
    plain = {(5e-4, 1.0): 268_336, (0.0, 1.0): 1_386}  # resnet20: convolutions and classifier; norms and bias
    for group, both in undecayed["stn+se"].items():
        assert both == undecayed["stn"].get(group, 0) + undecayed["se"].get(group, 0) - plain.get(group, 0), group
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\nclass Double(nn.Module):\n    def forward(self, x): return 2 * x\n")
    assert len(paths(build(f"se+{path}:Double"))) == 2
    assert format_run_name(read(f"se+{path}:Double")) == "se+mine.Double-resnet20-s0"


REFUSED: dict[str, tuple[list[str], str]] = {
    "se+se": ([], "stands twice"),
    "se+simamm": ([], "unknown attention: 'simamm'"),
    "se+vit": ([], "vit is a whole network"),
    "se+none": ([], "plain network"),
    "dyconv+odconv": ([], "take the place of layer1.0.conv1"),
    "se+eca": (["model.options.reduction=8"], "model.options.reduction: no mechanism of 'se+eca'"),
    "eca+se": (["model.options.se.redution=8"], "model.options.se.redution: unknown option of 'se'"),
    "se+simam": (["model.replace=se"], "model.replace"),
}


@pytest.mark.parametrize("attn", REFUSED)
def test_what_cannot_be_combined_is_refused(attn: str) -> None:
    """Twice the same, unknown, a whole network, one place for two, an option of none of them."""
    overrides, text = REFUSED[attn]
    with pytest.raises(UserError) as raised:
        build(attn, *overrides)
    assert text in str(raised.value)


def test_a_combination_describes_its_parts() -> None:
    """What a caller can ask of it: the parts in order, and no options of its own."""
    mechanism: Any = attention.describe_mechanism("se+simam")
    assert [part.name for part in mechanism.parts] == ["se", "simam"]
    assert mechanism.options == {}


def test_a_part_that_starts_at_zero_keeps_that() -> None:
    """Residual branches start at zero if one of the mechanisms wants that."""
    net = build("se+involution")
    alone = build("involution")
    names = [name for name, value in alone.state_dict().items() if name.endswith("weight") and not value.any()]
    assert names
    assert all(not net.state_dict()[name.replace("bn2.", "bn2.host.")].any() for name in names)
