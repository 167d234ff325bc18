"""Images that are too small for a backbone are refused before anything trains, with the smallest size."""

from pathlib import Path

import pytest
import torch

from attncli import backbones, model
from attncli.errors import UserError
from attncli.measure.smallest_image import LARGE_ENOUGH, check_backbone_size
from attncli.model import InputSpec
from attncli.recipe import read
from tests.commands.line import line, refused

SMALLEST = {  # two halvings; three; three without padding; five
    "resnet20": 3, "resnet18": 5, "shufflenet_v2_x1_0": 5, "mobilenet_v3_small": 5, "convnext_tiny": 8,
    "densenet121": 8, "vgg16_bn": 32,
}  # fmt: skip


@pytest.mark.parametrize(("backbone", "side"), SMALLEST.items())
def test_the_smallest_size_is_taken_and_named(backbone: str, side: int) -> None:
    """A network is built and runs with it; one pixel less is refused with it as the remedy."""
    recipe = read(values={"model.backbone": backbone})
    check_backbone_size(recipe, (side, side))
    with torch.device("meta"):
        net = model.build(recipe, InputSpec(10, (side, side))).eval()
        assert net(torch.zeros(2, 3, side, side)).shape == (2, 10)
    with pytest.raises(UserError, match=f"too small for {backbone}") as error:
        check_backbone_size(recipe, (side - 1, side - 1))
    assert f"--image-size {side} " in error.value.hint


@pytest.mark.parametrize("backbone", backbones.backbone_names())
def test_no_backbone_needs_more(backbone: str) -> None:
    """From 32 px on nothing is checked, so all must take it with both stems; images may be long in one direction."""
    for stem in ("cifar", "imagenet"):
        with torch.device("meta"):
            net = model.build(
                read(values={"model.backbone": backbone, "model.stem": stem}),
                InputSpec(10, (LARGE_ENOUGH, LARGE_ENOUGH)),
            )
            assert net.eval()(torch.zeros(2, 3, LARGE_ENOUGH, LARGE_ENOUGH)).shape == (2, 10)
    check_backbone_size(read(values={"model.backbone": "resnet18"}), (2, 64))


def test_commands_refuse_small_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of an option and that of the dataset alike; a whole network has no backbone that would matter."""
    monkeypatch.chdir(tmp_path)
    told = ("data.image_size: images of 3 px are too small for resnet18", "--image-size 5")
    refused(line("run", "--image-size", "3"), *told)
    refused(line("check", "--attn", "eca", "--image-size", "3"), *told)
    refused(line("sweep", "--attn", "se", "--image-size", "3"), *told)
    refused(line("sites", "--attn", "eca", "--backbone", "vgg16_bn", "--image-size", "16"), "--image-size 32")
    refused(line("measure", "--attn", "eca", "--backbone", "vgg16_bn", "--image-size", "16", "--no-speed"), "32")
    refused(line("run", "--backbone", "vgg16_bn", "-q"), "images of 8 px are too small for vgg16_bn")
    assert not list(Path("runs").glob("*/recipe.yaml"))
    assert line("check", "--attn", "ram", "--image-size", "3").code == 0
