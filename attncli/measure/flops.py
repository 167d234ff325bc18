"""Count the parameters, multiply-accumulates and element-wise work of a network.

MACs are what the literature prints as "FLOPs" or "GFLOPs" of a network: one multiplication and one addition
count once. Convolutions, matrix products and attention count by the formulas of mac_formulas.py. Biases, norms,
activations, pooling and matrix decompositions have no MACs.

Element-wise work is the number of elements written by every other operation: point-wise ones, reductions
(their result, not what they read), pooling, norms, softmax, resampling, copies and concatenations. Views and
new buffers (zeros, arange, ...) do not count. A deformable convolution is a product of sampled columns: the
columns count as written. Operations count as they run, so a mechanism written in fewer operations counts less.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attncli.measure.attention_calls import AttentionCallMode
from attncli.measure.fake_tensors import Network, image_shape, run_on_fake_tensors, storage_key
from attncli.measure.mac_formulas import DEFORM, count_macs

COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """Return the number of parameters, shared ones once; `trainable` leaves out frozen ones. Buffers do not count."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_operations(model: nn.Module, size: tuple[int, int], frames: int | None = None) -> tuple[int, int]:
    """Return (MACs, elements written otherwise) of one image (H, W), or of one clip of `frames`, in eval mode."""

    def count_forward(network: Network, images: Tensor, _: set[int]) -> tuple[int, int]:
        counter = OperationCounter()
        with torch.no_grad(), AttentionCallMode(counter.count_attention), counter:
            network(images)
        return counter.macs, counter.elements

    return run_on_fake_tensors(model, image_shape(1, size, frames), count_forward, training=False)


class OperationCounter(TorchDispatchMode):
    """Count the `macs` of operators that have a formula, and the `elements` that the others write."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.elements = 0

    def count_attention(self, run_attention: Callable[[], Tensor], _: list[Tensor]) -> Tensor:
        """Run attention and count its products, but no written elements, whether it is one operation or many."""
        elements_before = self.elements
        out = run_attention()
        self.elements = elements_before
        return out

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and count the operation, or the operations that it consists of (inference mode shows the composite)."""
        kwargs = kwargs or {}
        if _is_composite(func):
            with self:
                return func._op_dk(COMPOSITE, *args, **kwargs)
        out = func(*args, **kwargs)
        macs = count_macs(func, args, kwargs, out)
        if macs is not None:
            self.macs += macs
        elif not _is_fresh(func):
            self.elements += sum(t.numel() for t in _written_tensors(func, out, (args, kwargs)))
        if func._schema.name == DEFORM:
            self.elements += _count_sampled_elements(args[0], args[1], out)
        return out


@cache
def _is_composite(func: Any) -> bool:
    """Return whether an operation has no kernel of its own; the dispatcher does not know `prim` (such as device)."""
    return func.namespace != "prim" and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE)


def _written_tensors(func: Any, out: Any, inputs: Any) -> Iterator[Tensor]:
    """Yield the tensors of `out` that are no views of an input; for a norm only the map, not its statistics."""
    if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
        return
    if "norm" in func._overloadpacket.__name__ and isinstance(out, tuple):
        out = out[0]
    input_storages = (
        set() if func._schema.is_mutable else {storage_key(t) for t in tree_leaves(inputs) if isinstance(t, Tensor)}
    )
    yield from (t for t in tree_leaves(out) if isinstance(t, Tensor) and storage_key(t) not in input_storages)


@cache
def _is_fresh(func: Any) -> bool:
    """Return whether an operation only creates or fills a buffer."""
    name: str = func._overloadpacket.__name__
    takes = any("Tensor" in str(a.type) for a in func._schema.arguments if a.name != "out")
    return not takes or name.startswith("new_") or name.endswith("_like") or name in ("fill_", "zero_")


def _count_sampled_elements(x: Tensor, weight: Tensor, y: Tensor) -> int:
    """Return the elements that a deformable convolution samples: C * kh * kw per position of its output."""
    return y.shape[0] * x.shape[1] * weight.shape[2] * weight.shape[3] * y.shape[2] * y.shape[3]
