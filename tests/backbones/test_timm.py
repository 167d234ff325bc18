"""timm's networks: their parts found by structure are those that reading them shows."""

import pytest
import torch

from attncli import model, validation
from attncli.backbones import timm_networks
from attncli.backbones.placement import list_available_sites
from attncli.errors import UserError
from attncli.recipe import Recipe, read

SHAPE = model.InputSpec(10, (64, 64))


def recipe(name: str, attn: str = "none", **keys: object) -> Recipe:
    """A recipe with a network of timm's."""
    values = {"model.backbone": f"timm/{name}", "model.attn": attn, **{f"model.{k}": v for k, v in keys.items()}}
    return read(values=values)


def test_any_name_of_timm_passes_the_check() -> None:
    """Whether timm has it shows when it is built: the check loads nothing."""
    assert validation.read(None, ["model.backbone=timm/resnet26d"]).model.backbone == "timm/resnet26d"


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line and how to get it."""
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match="timm is not installed") as refused:
        model.build(recipe("resnet18"), SHAPE)
    assert "attncli[timm]" in refused.value.hint


@pytest.fixture
def timm() -> None:
    """Only where the extra is installed."""
    pytest.importorskip("timm", reason="the extra timm is not installed")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # timm's own


@pytest.mark.usefixtures("timm")
def test_unknown_names_have_a_nearest() -> None:
    """A misspelt name is told."""
    with pytest.raises(UserError, match="timm has no such network") as refused:
        model.build(recipe("resnet8"), SHAPE)
    assert "resnet18" in refused.value.hint


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "blocks", "first", "lacking"),
    [
        ("resnet26", 8, ("layer1.0.conv2", "layer1.0.conv3", "layer1.0.bn3"), {"built-in se"}),
        ("resnet50d", 16, ("layer1.0.conv2", "layer1.0.conv3", "layer1.0.bn3"), {"built-in se"}),
        ("seresnet50", 16, ("layer1.0.conv2", "layer1.0.conv3", "layer1.0.bn3"), set()),
        ("mobilenetv3_small_100", 11, ("blocks.0.0.conv_dw", "blocks.0.0.conv_pw", "blocks.0.0.bn2"), set()),
        ("regnety_004", 16, ("s1.b1.conv2.conv", "s1.b1.conv3.conv", "s1.b1.conv3.bn"), set()),
        (
            "convnext_tiny",
            18,
            ("stages.0.blocks.0.conv_dw", None, "stages.0.blocks.0.drop_path"),
            {"conv", "mid", "built-in se"},
        ),
    ],
)
def test_blocks_are_found(name: str, blocks: int, first: tuple[str | None, ...], lacking: set[str]) -> None:
    """As many as the paper has, with their convolution, their last one and the end of the branch."""
    with torch.device("meta"):
        net = timm_networks.build(f"timm/{name}", 10, cifar_stem=False)
    structure = timm_networks.find_structure(net)
    assert len(structure.blocks) == blocks
    assert structure.stage_count == 4
    block = structure.blocks[0]
    assert (block.convs[-1], block.last_conv, block.branch_end) == first
    every = {"gate", "pre-norm", "conv", "conv-input", "mid", "block-input", "stage", "head", "input", "built-in se"}
    assert every - set(list_available_sites(net, structure, (224, 224))) == lacking


@pytest.mark.usefixtures("timm")
def test_resnet_is_torchvisions() -> None:
    """timm's resnet18 with ECA has it at the same paths as torchvision's, and goes forth and back."""
    theirs, ours = (model.build(recipe_, SHAPE) for recipe_ in (recipe("resnet18", "eca"), plain("eca")))
    assert list(model.find_mechanisms(theirs)) == list(model.find_mechanisms(ours))
    y = theirs(torch.randn(2, 3, 64, 64))
    y.sum().backward()
    assert y.shape == (2, 10)


def plain(attn: str) -> Recipe:
    """torchvision's resnet18."""
    return read(values={"model.backbone": "resnet18", "model.attn": attn})


@pytest.mark.usefixtures("timm")
def test_built_in_attention_is_replaced() -> None:
    """An SE-ResNet's excitation gives way to another mechanism."""
    net = model.build(recipe("seresnet18", "eca", replace="se"), SHAPE)
    assert next(iter(model.find_mechanisms(net))) == "layer1.0.se.attn"
    assert not any(type(m).__name__ == "SEModule" for m in net.modules())


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "attn", "told"),
    [
        ("vit_tiny_patch16_224", "none", "does not take images of 64x64 px"),
        ("vgg11_bn", "eca", "no blocks with spatial convolutions"),
        ("resnet18", "highway", "none of the chosen blocks has it"),
    ],
)
def test_refusals(name: str, attn: str, told: str) -> None:
    """What does not fit is told in a line."""
    with pytest.raises(UserError, match=told):
        model.build(recipe(name, attn), SHAPE)


@pytest.mark.usefixtures("timm")
def test_timm_networks_take_clips() -> None:
    """Their parts are found before the head averages the frames of a clip."""
    with torch.device("meta"):
        net = model.build(recipe("resnet18", "se"), model.InputSpec(10, (64, 64), frames=2))
    assert net(torch.zeros(3, 2, 3, 64, 64, device="meta")).shape == (3, 10)


@pytest.mark.usefixtures("timm")
def test_attention_of_timm_is_no_mechanism() -> None:
    """The blocks of a transformer are called attn."""
    with torch.device("meta"):
        assert model.find_mechanisms(model.build(recipe("vit_tiny_patch16_224"), model.InputSpec(10, (224, 224)))) == {}
