"""Parameters in a plain list are never trained: a run says so."""

import torch
from torch import nn

from attncli import model, validation
from attncli.run.hidden_parameters import list_hidden_parameter_warnings


class Hiding(nn.Module):
    """Holds two convolutions in a list, one in a dict of tuples, and what is no fault."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
        self.nested = {"scales": (nn.Parameter(torch.ones(1)),)}
        self.known = nn.Conv2d(3, 3, 1)
        self.shortcuts = [self.known, self.known.weight]
        self.kernels, self.activations = [1, 3], [nn.ReLU()]
        self.listed = nn.ModuleList([nn.Conv2d(3, 3, 1)])


def test_each_hiding_place_is_named_once() -> None:
    """Whatever is registered too, or has no parameters, is no fault."""
    warnings = list_hidden_parameter_warnings(nn.Sequential(Hiding(), Hiding()))
    assert [warning.split()[0] for warning in warnings] == ["Hiding.parts", "Hiding.nested"]


def test_networks_with_mechanisms_of_ours_hide_nothing() -> None:
    """Also those that keep references to parts of others."""
    for backbone, attn in (
        ("resnet20", "se+cbam"),
        ("mobilenet_v2", "odconv"),
        ("densenet121", "se"),
        ("resnet20", "bat"),
    ):
        recipe = validation.read(None, [], {"model.backbone": backbone, "model.attn": attn})
        assert list_hidden_parameter_warnings(model.build(recipe, model.InputSpec(10, (32, 32)))) == []
