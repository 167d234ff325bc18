"""The network of a recipe.

`resolve` looks up what the recipe names, `backbone` builds the plain network, `mechanism` one module of a mechanism,
and `network` puts them together.
"""

from attncli.backbones.surgery import find_mechanisms
from attncli.model.backbone import build_plain_network
from attncli.model.mechanism import build_mechanism
from attncli.model.network import ClipNetwork, build, make_placement_request
from attncli.model.resolve import InputSpec, ResolvedModel, resolve_model

__all__ = [
    "ClipNetwork",
    "InputSpec",
    "ResolvedModel",
    "build",
    "build_mechanism",
    "build_plain_network",
    "find_mechanisms",
    "make_placement_request",
    "resolve_model",
]
