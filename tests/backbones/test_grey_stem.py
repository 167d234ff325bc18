"""Networks of one input channel are, on grey images, the networks of three channels."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from attncli import model, recipe
from attncli.backbones.grey_stem import LUMINANCE, LuminanceConv2d
from attncli.errors import UserError

SPEC = model.InputSpec(10, (32, 32))


def build(backbone: str, channels: int, **keys: object) -> nn.Module:
    """A network in evaluation mode."""
    values = {"model.backbone": backbone, "model.channels": channels, **keys}
    return model.build(recipe.read(values=values), SPEC).eval()


def draw_grey(planes: int) -> Tensor:
    """Two grey images of one or three equal planes."""
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(-1, planes, -1, -1)


@pytest.mark.parametrize("backbone", ["resnet20", "mobilenet_v2"])
@torch.no_grad()
def test_grey_images_give_the_same_logits(backbone: str) -> None:
    """The weights are summed over the colours; the other parameters are shared, and the stem is a third of it."""
    grey, colour = build(backbone, 1), build(backbone, 3)
    logits = colour(draw_grey(3))
    torch.testing.assert_close(grey(draw_grey(3)), logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grey(draw_grey(1)), logits, rtol=1e-4, atol=1e-5)
    stem = next(module for module in grey.modules() if isinstance(module, LuminanceConv2d))
    assert (stem.in_channels, stem.weight.shape[1]) == (1, 1)
    counts = [sum(p.numel() for p in net.parameters()) for net in (colour, grey)]
    assert counts[0] - counts[1] == 2 * stem.weight.numel()


@torch.no_grad()
def test_colours_are_seen_by_their_luminance() -> None:
    """A convolution of three channels with the weights l_c w is the same on any image."""
    stem = LuminanceConv2d(1, 4, 3)
    plain = nn.Conv2d(3, 4, 3)
    plain.weight.copy_(stem.weight * torch.tensor(LUMINANCE).view(1, 3, 1, 1))
    plain.bias.copy_(stem.bias)
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(stem(x), plain(x), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_pretrained_weights_are_summed(tmp_path: Path) -> None:
    """A state dict of either kind fits a grey network, and gives the logits of the network that it is of."""
    for channels in (3, 1):
        source = build("resnet20", channels, seed=7)
        torch.save(source.state_dict(), tmp_path / "weights.pth")
        loaded = build("resnet20", 1, **{"model.pretrained": str(tmp_path / "weights.pth")})
        torch.testing.assert_close(loaded(draw_grey(3)), source(draw_grey(3)), rtol=1e-4, atol=1e-5)


def test_what_has_no_such_stem_is_refused() -> None:
    """Whole networks, and numbers of channels that are neither 1 nor 3."""
    with pytest.raises(UserError, match=r"model\.channels"):
        model.build(recipe.read(values={"model.attn": "vit", "model.channels": 1}), SPEC)
    with pytest.raises(UserError, match=r"model\.channels"):
        recipe.read(values={"model.channels": 2})
