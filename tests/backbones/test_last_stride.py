"""A last stage that keeps the size of its map."""

from pathlib import Path

import pytest
import torch

from attncli import model
from attncli.backbones.surgery import trace_shapes
from attncli.errors import UserError
from attncli.recipe import Recipe, read

SHAPE = model.InputSpec(10, (64, 64))


def recipe(backbone: str) -> Recipe:
    """A recipe of this backbone with a last stage of stride 1."""
    return read(values={"model.backbone": backbone, "model.last_stride": 1, "model.stem": "imagenet"})


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2", "resnet20"])
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


POOLED = """
from torch import nn


class Block(nn.Module):
    def __init__(self, width, stride, pools):
        super().__init__()
        self.a = nn.Conv2d(width, 4, 3, stride, 1)
        self.b = nn.Conv2d(4, 4, 3, 1, 1)
        pooled = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, 4, 1))
        self.shortcut = pooled if pools else nn.Conv2d(width, 4, 1, stride)

    def forward(self, x):
        return self.b(self.a(x)) + self.shortcut(x)


class Net(nn.Module):
    def __init__(self, num_classes=10, pools=True):
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 1, False), Block(4, 2, pools))
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.blocks(x).mean((2, 3)))


def strided(num_classes):
    return Net(num_classes, False)
"""


@pytest.mark.parametrize("backbone", ["vgg16_bn", "convnext_tiny", "densenet121", "own"])
def test_a_network_without_it_is_refused(backbone: str, tmp_path: Path) -> None:
    """The last stage halves its map by a pool, or before its first block, or its shortcut pools: one line."""
    (tmp_path / "own.py").write_text(POOLED)
    name = f"{tmp_path / 'own.py'}:Net" if backbone == "own" else backbone
    with pytest.raises(UserError, match=r"model\.last_stride") as caught, torch.device("meta"):
        model.build(recipe(name), SHAPE)
    assert backbone in caught.value.problem


def test_stages_are_those_of_the_network_with_its_strides(tmp_path: Path) -> None:
    """Where stages are sizes of maps, the last one stays a stage of its own."""
    (tmp_path / "own.py").write_text(POOLED)
    values = {"model.backbone": f"{tmp_path / 'own.py'}:strided", "model.last_stride": 1, "model.attn": "eca"}
    net = model.build(read(values=values | {"model.stages": [2]}), model.InputSpec(10, (8, 8)))
    assert list(model.find_mechanisms(net)) == ["blocks.1.b.attn"]


def test_a_whole_network_is_refused() -> None:
    """A mechanism that is the network has no last stage of a backbone."""
    with pytest.raises(UserError, match=r"model\.last_stride.*whole network"):
        model.build(read(values={"model.attn": "vit", "model.last_stride": 1}), SHAPE)


def test_it_is_no_part_of_earlier_identities() -> None:
    """A recipe without the key has the digest that it had, and one with it another."""
    plain = read(values={"model.backbone": "resnet18"})
    assert "last_stride" not in plain.build_identity()["model"]
    assert (
        read(values={"model.backbone": "resnet18", "model.last_stride": 1}).compute_digest() != plain.compute_digest()
    )
