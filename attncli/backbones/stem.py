"""Small images: strides that a stem made for 224 px can do without."""

from collections.abc import Iterable

from torch import nn


def remove_strides(net: nn.Module, paths: Iterable[str]) -> None:
    """Give the convolutions at `paths` the stride 1."""
    for path in paths:
        conv = net.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)
