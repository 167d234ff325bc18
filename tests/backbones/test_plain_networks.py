"""A user's network of Sequentials and single convolutions, as people write them: which blocks and sites it has."""

from pathlib import Path

import pytest
import torch

from attncli import model, validation
from attncli.errors import UserError
from attncli.measure.site_costs import list_site_costs
from attncli.recipe import Recipe
from attncli.train.fine_tuning import find_parts

SPEC = model.InputSpec(10, (32, 32))
NETWORKS = Path(__file__).with_name("plain_networks.py")
GATES = {  # path, stage, channels, side of the map
    "LeNet": [("conv1", 1, 6, 28), ("conv2", 2, 16, 10)],
    "Vgg": [("features.1", 1, 8, 32), ("features.5", 2, 16, 16), ("features.8", 2, 16, 16)],
    "ConvBlocks": [("net.0.1", 1, 8, 32), ("net.1.1", 2, 16, 16), ("net.2.1", 3, 16, 8)],
    "Layers": [("layer1.4", 1, 8, 32), ("layer2.4", 2, 16, 16)],
    "VggStages": [("block1.1", 1, 8, 32), ("block2.1", 2, 8, 16), ("block3.4", 3, 16, 8), ("block4.4", 4, 16, 4)],
    "ResNet9": [("res1.1.1", 1, 16, 16), ("res2.1.1", 2, 32, 4)],
    "ResidualList": [("blocks.0.4", 1, 8, 32), ("blocks.1.4", 2, 16, 16), ("blocks.2.4", 2, 16, 16)],
    "Named": [("features.norm1", 1, 8, 32), ("features.norm2", 2, 16, 16)],
    "Listed": [("norms.0", 1, 8, 32), ("norms.1", 2, 16, 16), ("norms.2", 3, 16, 8)],
    "MobileNet": [("model.1.4", 1, 16, 32), ("model.2.4", 2, 16, 16), ("model.3.4", 2, 16, 16)],
    "Units": [("stages.0.0.bn", 1, 8, 32), ("stages.0.1.bn", 1, 8, 32), ("stages.1.0.bn", 2, 16, 16)],
    "Classifier": [("encoder.bn1", 1, 8, 32), ("encoder.bn2", 2, 16, 16)],
    "make_classifier": [("encoder.bn1", 1, 8, 32), ("encoder.bn2", 2, 16, 16)],
    "make_sequential": [("0", 1, 8, 32), ("2", 1, 8, 32), ("6", 2, 16, 16)],
}


def read(name: str, attn: str = "se", *overrides: str) -> Recipe:
    """The recipe of one of the networks with a mechanism."""
    return validation.read(None, overrides, {"model.backbone": f"{NETWORKS}:{name}", "model.attn": attn})


def list_sites(name: str, attn: str = "se", *overrides: str) -> list[tuple[str, int | None, int | None, int]]:
    """Path, stage, channels and side of the map of each site."""
    costs = list_site_costs(read(name, attn, *overrides), SPEC)
    return [(cost.path, cost.stage, cost.channels, (cost.size or (0, 0))[0]) for cost in costs]


@pytest.mark.parametrize("name", GATES)
def test_gates_stand_at_the_end_of_each_block(name: str) -> None:
    """Behind the last norm of each block, in stages of equal maps; the weights are those of the plain network."""
    assert list_sites(name, "se", "model.site=gate") == GATES[name]
    recipe = read(name)
    net, bare = model.build(recipe, SPEC), model.build(recipe.make_baseline(), SPEC)
    assert list(model.find_mechanisms(net)) == [f"{path}.attn" for path, *_ in GATES[name]]
    own = {key.replace(".host", ""): value for key, value in net.state_dict().items() if ".attn." not in key}
    assert all(torch.equal(value, own[key]) for key, value in bare.state_dict().items())
    net(torch.zeros(2, 3, 32, 32)).sum().backward()


def test_other_sites_follow_the_kind_of_block() -> None:
    """A pool is no part of a block's output; sums and activations that are no modules have no site."""
    stage = ("se", "model.site=stage")
    assert [site[0] for site in list_sites("Layers", *stage)] == ["layer1.5", "layer2.5"]
    assert [site[0] for site in list_sites("Vgg", *stage)] == ["features.2", "features.6", "features.9"]
    assert [site[0] for site in list_sites("Layers", "dyconv")] == ["layer1.0", "layer1.3", "layer2.0", "layer2.3"]
    assert [site[0] for site in list_sites("ResNet9", "se", "model.site=mid")] == ["res1.1.0", "res2.1.0"]
    assert [site[0] for site in list_sites("make_sequential", "se", "model.site=head")] == ["8"]
    for name in ("ResNet9", "LeNet", "Listed"):
        with pytest.raises(UserError, match=r"model\.site: stage: none of the chosen blocks has it"):
            list_sites(name, *stage)


def test_unclear_blocks_are_refused_with_the_key_that_names_them() -> None:
    """The plain network trains; each value that the hint shows settles it, and gives what it says."""
    model.build(read("Unclear", "none"), SPEC)
    with pytest.raises(UserError, match="its blocks are unclear: body, or each of 3 convolutions") as raised:
        list_sites("Unclear")
    for value, paths in (("[body]", ["body.2"]), ("[stem, body.*]", ["stem", "body.0", "body.2"])):
        assert f"--set 'model.block_paths={value}'" in raised.value.hint
        assert [site[0] for site in list_sites("Unclear", "se", f"model.block_paths={value}")] == paths


def test_named_blocks_replace_those_that_are_found() -> None:
    """A star stands for one part of a path; blocks in named blocks are parts of these; unknown paths are refused."""
    assert [site[0] for site in list_sites("Layers", "se", "model.block_paths=[layer*.*]")] == [
        "layer1.1",
        "layer1.4",
        "layer2.1",
        "layer2.4",
    ]
    assert [site[0] for site in list_sites("ResNet9", "se", "model.block_paths=[res*, 'res*.*', conv3]")] == [
        "res1.1.1",
        "conv3.1",
        "res2.1.1",
    ]
    with pytest.raises(UserError, match=r"model\.block_paths: fc: no module") as raised:
        list_sites("Layers", "se", "model.block_paths=[layer1, fc]")
    assert "layer*" in raised.value.hint
    with pytest.raises(UserError, match=r"model\.block_paths: the blocks of resnet20 are known"):
        model.build(validation.read(None, ["model.block_paths=[layer1]", "model.backbone=resnet20"]), SPEC)


def test_a_norm_beside_its_convolution_belongs_to_the_same_stage() -> None:
    """Fine-tuning by part: the norms of VGG's blocks stand beside the convolutions that are the blocks."""
    for recipe, last in (
        (read("Vgg", "none"), "stage2"),
        (validation.read(None, ["model.backbone=vgg16_bn"]), "stage5"),
    ):
        with torch.device("meta"):
            net = model.build(recipe, SPEC)
        parts = find_parts(net, recipe, (32, 32))
        named = {name: part for name, part in parts.items() if name.startswith("features.")}
        assert named["features.0.weight"] == named["features.1.bias"] == "stage1"
        assert list(named.values())[-1] == last
        assert "classifier" not in named.values()
