"""Parameters, multiply-accumulates and element-wise work of a network, counted rather than timed.

MACs are what the literature prints as "FLOPs" or "GFLOPs" of a network: one multiplication and one addition
count once. Convolutions, matrix products and attention are counted by torch's flop counter, with formulas of
our own for what it passes over; biases, norms, activations and pooling count nothing there.

Element-wise work is the number of elements written by every other operation: point-wise ones, reductions
(their result, not what they read), pooling, norms, softmax, resampling, copies and concatenations. Views and
fresh buffers (zeros, arange, ...) write nothing that counts. A deformable convolution, which is a product of
sampled columns, writes those columns. What is counted is what runs, so a mechanism written in fewer
operations counts less.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from attncli.measure.fake_tensors import Network, image_shape, run_on_fake_tensors, storage_key

assert torchvision.ops  # registers torch.ops.torchvision
aten = torch.ops.aten
DEFORM = torch.ops.torchvision.deform_conv2d


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """Number of parameters, shared ones once; `trainable` leaves out frozen ones. Buffers do not count."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_operations(model: nn.Module, size: tuple[int, int], frames: int | None = None) -> tuple[int, int]:
    """(MACs, elements written otherwise) of one image (H, W), or of one clip of `frames`, in eval mode."""

    def count_forward(network: Network, images: Tensor, _: set[int]) -> tuple[int, int]:
        counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
        with torch.no_grad(), counter, WrittenElementCounter(counter) as writes:
            network(images)
        return counter.get_total_flops() // 2, writes.elements

    return run_on_fake_tensors(model, image_shape(1, size, frames), count_forward, training=False)


class WrittenElementCounter(TorchDispatchMode):
    """Counts in `elements` what is written by operations that `counter` has no formula for."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__()
        self.formulas = counter.flop_registry
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it wrote."""
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket is DEFORM:
            self.elements += _count_sampled_elements(args[0], args[1], out)
        elif func._overloadpacket not in self.formulas and not _is_fresh(func):
            self.elements += sum(t.numel() for t in _written_tensors(func, out, (args, kwargs)))
        return out


def _written_tensors(func: Any, out: Any, inputs: Any) -> Iterator[Tensor]:
    """The tensors of `out` that are no views of an input; of a norm the map alone, not the statistics beside it."""
    if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
        return
    if "norm" in func._overloadpacket.__name__ and isinstance(out, tuple):
        out = out[0]
    input_storages = (
        set() if func._schema.is_mutable else {storage_key(t) for t in tree_leaves(inputs) if isinstance(t, Tensor)}
    )
    yield from (t for t in tree_leaves(out) if isinstance(t, Tensor) and storage_key(t) not in input_storages)


def _is_fresh(func: Any) -> bool:
    """Whether an operation only makes or fills a buffer."""
    name: str = func._overloadpacket.__name__
    takes = any("Tensor" in str(a.type) for a in func._schema.arguments if a.name != "out")
    return not takes or name.startswith("new_") or name.endswith("_like") or name in ("fill_", "zero_")


def _count_sampled_elements(x: Tensor, weight: Tensor, y: Tensor) -> int:
    """Elements sampled by a deformable convolution: C * kh * kw for every place of its output."""
    return y.shape[0] * x.shape[1] * weight.shape[2] * weight.shape[3] * y.shape[2] * y.shape[3]


def _deform_conv_flops(x: list[int], weight: list[int], *_: Any, out_shape: list[int], **__: Any) -> int:
    """FLOPs of y[c, p] = sum over c', k of weight[c, c', k] * sampled[c', k, p]."""
    n, c, h, w = out_shape
    return 2 * n * c * h * w * weight[1] * weight[2] * weight[3]


def _mv_flops(matrix: list[int], *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _addmv_flops(_: Any, matrix: list[int], *__: Any, **___: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _dot_flops(vector: list[int], *_: Any, **__: Any) -> int:
    return 2 * vector[0]


def _addbmm_flops(_: Any, a: list[int], b: list[int], *__: Any, **___: Any) -> int:
    return 2 * a[0] * a[1] * a[2] * b[2]


FORMULAS: dict[Any, Any] = {
    DEFORM: _deform_conv_flops,
    aten.mv: _mv_flops,
    aten.addmv: _addmv_flops,
    aten.dot: _dot_flops,
    aten.vdot: _dot_flops,
    aten.addbmm: _addbmm_flops,
}
