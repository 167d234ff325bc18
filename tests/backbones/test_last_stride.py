"""A last stage that keeps the size of its map."""

import pytest

from attncli import model
from attncli.backbones.surgery import trace_shapes
from attncli.errors import UserError
from attncli.recipe import Recipe, read

SHAPE = model.InputSpec(10, (64, 64))


def recipe(backbone: str) -> Recipe:
    """A recipe of this backbone with a last stage of stride 1."""
    return read(values={"model.backbone": backbone, "model.last_stride": 1, "model.stem": "imagenet"})


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_the_last_stage_keeps_its_size(backbone: str) -> None:
    """What enters the last stage is as large as what leaves it, and all parameters have their shapes."""
    shapes = []
    for key in ({}, {"model.last_stride": 1}):
        net = model.build(read(values={"model.backbone": backbone, "model.stem": "imagenet"} | key), SHAPE)
        blocks = model.resolve_model(recipe(backbone)).family.find_structure(net).blocks  # type: ignore[union-attr]
        last = [b.path for b in blocks if b.stage == blocks[-1].stage]
        traced = trace_shapes(net, SHAPE.size)
        shapes.append((traced[last[0]][0][-2:], traced[last[-1]][1][-2:], [p.shape for p in net.parameters()]))
    (before, halved, plain), (entering, leaving, strideless) = shapes
    assert halved == (before[0] // 2, before[1] // 2)
    assert leaving == entering == before
    assert strideless == plain


def test_a_network_without_it_is_refused() -> None:
    """VGG's last stage halves its map by a pool: there is no stride to remove."""
    with pytest.raises(UserError, match=r"model\.last_stride.*vgg16_bn"):
        model.build(recipe("vgg16_bn"), SHAPE)


def test_it_is_no_part_of_earlier_identities() -> None:
    """A recipe without the key has the digest that it had, and one with it another."""
    plain = read(values={"model.backbone": "resnet18"})
    assert "last_stride" not in plain.build_identity()["model"]
    assert (
        read(values={"model.backbone": "resnet18", "model.last_stride": 1}).compute_digest() != plain.compute_digest()
    )
