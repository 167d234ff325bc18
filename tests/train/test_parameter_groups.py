"""Which parameters of a user's mechanism get weight decay."""

from pathlib import Path

import pytest

from attncli import model
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.train.parameter_groups import group_parameters

OWN = """
import torch
from torch import nn


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(channels, channels))
        self.table = nn.Parameter(torch.ones(channels, channels))
        {init}

    {method}

    def forward(self, x):
        return x * (self.kernel * self.table).mean()
"""


@pytest.mark.parametrize(
    ("init", "method", "undecayed"),
    [
        ("", "def no_weight_decay(self): return {'table'}", {"table"}),  # as timm and the authors of Swin write it
        ("self.no_weight_decay = ('kernel', 'table')", "", {"kernel", "table"}),
        ("self.no_weight_decay = True", "", set()),
        ("", "", set()),
    ],
)
def test_own_names_without_weight_decay(tmp_path: Path, init: str, method: str, undecayed: set[str]) -> None:
    """A method or an attribute with names is followed; a flag of this name says nothing of names."""
    path = tmp_path / "mine.py"
    path.write_text(OWN.format(init=init, method=method))
    plain = Recipe()
    own = plain.model.model_copy(update={"backbone": "resnet20", "attn": f"{path}:Gate"})
    net = model.build(plain.model_copy(update={"model": own}), InputSpec(10, (8, 8)))
    matrices = {
        id(parameter): name.rpartition(".")[2]
        for name, parameter in net.named_parameters()
        if name.endswith((".kernel", ".table"))
    }
    groups = group_parameters(net, plain.train.model_copy(update={"weight_decay": 0.1}), own.attn)
    found = {matrices[id(p)] for g in groups if not g["weight_decay"] for p in g["params"] if id(p) in matrices}
    assert set(matrices.values()) == {"kernel", "table"}
    assert found == undecayed


NETWORK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.table = nn.Parameter(torch.zeros(1, 4, 8, 8))

    def forward(self, x):
        return x + self.norm(self.conv(x)) + self.table


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 8, 8))
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.fc = nn.Linear(4, num_classes)

    def no_weight_decay(self):
        return {"pos_embed", "blocks.1.table"}

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x) + self.pos_embed).mean((2, 3)))
"""


@pytest.mark.parametrize("attn", ["none", "se"])
def test_names_of_the_network_itself(tmp_path: Path, attn: str) -> None:
    """A transformer's tables of positions are exempt, as timm's optimisers have it, also beside a mechanism."""
    path = tmp_path / "net.py"
    path.write_text(NETWORK)
    own = Recipe().model.model_copy(update={"backbone": f"{path}:Net", "attn": attn})
    net = model.build(Recipe().model_copy(update={"model": own}), InputSpec(10, (8, 8)))
    names = {id(parameter): name.replace(".host.", ".") for name, parameter in net.named_parameters()}
    groups = group_parameters(net, Recipe().train.model_copy(update={"weight_decay": 0.1}), attn)
    decayed = {names[id(p)]: group["weight_decay"] > 0 for group in groups for p in group["params"]}
    assert (decayed["pos_embed"], decayed["blocks.1.table"]) == (False, False)
    assert (decayed["blocks.0.table"], decayed["stem.weight"], decayed["fc.weight"]) == (True, True, True)
