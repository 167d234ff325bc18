"""Layers that are made in their first pass, such as `torch.nn.LazyConv2d`: they have no weights before it."""

from torch import nn
from torch.nn.parameter import is_lazy


def list_lazy_layers(net: nn.Module) -> list[str]:
    """Return the paths of the modules in `net` that no pass has made yet."""
    return [
        path
        for path, module in net.named_modules()
        if any(is_lazy(tensor) for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
    ]


def check_layers_made(net: nn.Module) -> None:
    """Raise ValueError if a pass through `net` has left a layer without weights."""
    if paths := list_lazy_layers(net):
        raise ValueError(f"no pass uses {', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''}: it has no weights")
