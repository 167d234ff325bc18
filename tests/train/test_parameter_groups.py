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
