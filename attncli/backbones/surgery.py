"""Looking into a finished network and putting modules into it.

Its own tensors keep their values, and their names but for a `.host` where a submodule is wrapped.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

TensorShape = tuple[int, ...]
ModuleShapes = dict[str, tuple[TensorShape, TensorShape]]  # path -> shape of the input and of the output
Insertion = Callable[[nn.Module, nn.Module], None]  # (network, mechanism)


class WrappedSubmodule(nn.Sequential):
    """A submodule of the network (`host`) and the mechanism (`attn`) before, after or in place of it."""


class FrameAveragingHead(nn.Module):
    """Mean over the T frames of a clip, then the classifier: (N*T, C) -> (N, classes)."""

    def __init__(self, classifier: nn.Module, frames: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the clips."""
        return self.classifier(x.unflatten(0, (-1, self.frames)).mean(1))


def trace_shapes(net: nn.Module, size: tuple[int, int], images: int = 1) -> ModuleShapes:
    """Input and output shape of every submodule for (images, 3, H, W), found without computing anything.

    In the order in which they end; those that take or return something else than a tensor are left out.
    """
    meta_copy = copy.deepcopy(net).to("meta").eval()
    module_shapes: ModuleShapes = {}

    def make_hook(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def record_shapes(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                module_shapes[path] = (tuple(inputs[0].shape), tuple(output.shape))

        return record_shapes

    for path, module in meta_copy.named_modules():
        module.register_forward_hook(make_hook(path))
    with torch.no_grad():
        meta_copy(torch.zeros(images, 3, *size, device="meta"))
    return module_shapes


def insert_before(path: str) -> Insertion:
    """Put the mechanism before the submodule at `path`."""
    return lambda net, attn: _wrap_submodule(net, path, attn, first=True)


def insert_after(path: str) -> Insertion:
    """Put the mechanism after the submodule at `path`."""
    return lambda net, attn: _wrap_submodule(net, path, attn, first=False)


def _wrap_submodule(net: nn.Module, path: str, attn: nn.Module, first: bool) -> None:
    wrapped, host = WrappedSubmodule(), net.get_submodule(path)
    for name, module in (("attn", attn), ("host", host)) if first else (("host", host), ("attn", attn)):
        wrapped.add_module(name, module)
    net.set_submodule(path, wrapped)


def insert_instead(path: str, norm: str | None = None) -> Insertion:
    """Put the mechanism in place of the submodule at `path`, and nothing in place of the one at `norm`."""

    def replace_submodule(net: nn.Module, attn: nn.Module) -> None:
        wrapped = WrappedSubmodule()
        wrapped.add_module("attn", attn)
        net.set_submodule(path, wrapped)
        if norm:
            net.set_submodule(norm, nn.Identity())

    return replace_submodule
