"""Count the multiply-accumulates of one operator call, by formulas that do not depend on the version of torch.

One multiplication and one addition count once. A product counts in full, masked or not; a bias counts nothing.
Operators are known by name, so that the table may have operators that not every version of torch has.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torchvision
from torch import Tensor
from torch._ops import OpOverload

assert torchvision.ops  # registers torchvision::deform_conv2d
Formula = Callable[[list[Any], Any], int]  # (arguments in the order of the schema, result)
DEFORM = "torchvision::deform_conv2d"
ATTENTION_KERNELS = "aten::_scaled_dot_product_"  # prefix of the name of every attention kernel


def count_macs(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int | None:
    """Return the multiply-accumulates of a call that gave `out`; None for an operator without a formula."""
    formula = find_formula(operator)
    if formula is None:
        return None
    missing_arguments = operator._schema.arguments[len(args) :]
    return formula([*args, *(kwargs.get(a.name, a.default_value) for a in missing_arguments)], out)


def find_formula(operator: OpOverload) -> Formula | None:
    """Return the formula of an operator, one that works in place included; None if it has none."""
    name: str = operator._schema.name
    if name.startswith(ATTENTION_KERNELS):
        return _count_attention_gradients if name.endswith("_backward") else _count_attention
    return FORMULAS.get(name.removesuffix("_"))


def _product_formula(first: int) -> Formula:
    """Return the formula for operators that multiply argument `first` by the next: vectors, matrices or batches."""

    def formula(values: list[Any], _: Any) -> int:
        a, b = values[first : first + 2]
        return int(a.numel() * (b.shape[-1] if b.ndim > 1 else 1))

    return formula


def _count_linear(values: list[Any], _: Any) -> int:
    x, weight, *_ = values  # weight: (out, in) or (in)
    return int(x.numel() * prod(weight.shape[:-1]))


def _count_grouped_product(values: list[Any], _: Any) -> int:
    """Count a product in groups: a matrix `b` is cut along its columns, one part per matrix of `a`."""
    a, b, *_ = values
    return int(a.numel() * b.shape[-1] // (len(a) if a.ndim > b.ndim else 1))


def _count_trilinear(values: list[Any], _: Any) -> int:
    """Count a * b, summed over the axes that c lacks, then that times c; `without` are the axes that each lacks."""
    a, b, c, *without, summed, _ = values
    axes = range(a.ndim + len(without[0]))
    full_shape = [max(sizes) for sizes in zip(*map(_insert_axes, (a, b, c), without), strict=True)]
    first_product = prod(full_shape[i] for i in axes if not (i in without[0] and i in without[1]))
    return first_product + prod(full_shape[i] for i in axes if not (i in without[2] and i in summed))


def _insert_axes(t: Tensor, without: list[int]) -> list[int]:
    sizes = iter(t.shape)
    return [1 if i in without else next(sizes) for i in range(t.ndim + len(without))]


def _count_plain_convolution(values: list[Any], out: Tensor) -> int:
    """Count one window of the weight, (C, C_in / groups, ...), per element of the result."""
    return out.numel() * prod(values[1].shape[1:])


def _count_transposed_convolution(values: list[Any], _: Tensor) -> int:
    """Count one window of the weight, (C_in, C / groups, ...), per element of the input."""
    return int(values[0].numel() * prod(values[1].shape[1:]))


def _count_convolution(values: list[Any], out: Tensor) -> int:
    return (_count_transposed_convolution if values[6] else _count_plain_convolution)(values, out)


def _count_convolution_gradients(values: list[Any], _: Any) -> int:
    gradient, x, weight, transposed, output_mask = *values[:3], values[7], values[10]
    forward = (_count_transposed_convolution if transposed else _count_plain_convolution)([x, weight], gradient)
    return forward * sum(output_mask[:2])  # the gradients of input and weight


def _count_time_convolution(values: list[Any], out: Tensor) -> int:
    return int(out.numel() * prod(values[1].shape[:2]))  # weight: (kernel, C_in, C)


def _count_attention(values: list[Any], out: Any) -> int:
    """Count queries (..., L, E) times keys (..., S, E), and that times values (..., S, V), per head of queries."""
    q, k, v, *_ = values
    result = out if isinstance(out, Tensor) else out[0]  # (..., L, V)
    return int(prod(result.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _count_attention_gradients(values: list[Any], _: Any) -> int:
    """Count the weights, which are computed again, and one product per gradient: values, weights, queries, keys."""
    gradient, q, k, v, *_ = values
    return int(prod(gradient.shape[:-1]) * k.shape[-2] * (3 * q.shape[-1] + 2 * v.shape[-1]))


def _count_multihead_attention(values: list[Any], _: Any) -> int:
    """Count four projections and two products; queries (N, L, E), keys and values (N, S, E)."""
    q, k, v, *_ = values
    return int(q.shape[-1] * (2 * q.numel() + k.numel() + v.numel()) + 2 * q.numel() * k.shape[-2])


def _count_encoder_layer(values: list[Any], _: Any) -> int:
    x, hidden_weight, output_weight = values[0], values[14], values[16]
    return _count_multihead_attention([x, x, x], None) + prod(x.shape[:-1]) * int(
        hidden_weight.numel() + output_weight.numel()
    )


_ATEN_FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm", "_scaled_mm_v2"), _product_formula(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"), _product_formula(1)),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"), _count_grouped_product),
    "linear": _count_linear,
    "_trilinear": _count_trilinear,
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _count_convolution),
    **dict.fromkeys(("_slow_conv2d_forward", "slow_conv3d_forward", "mkldnn_convolution"), _count_plain_convolution),
    **dict.fromkeys(("slow_conv_dilated2d", "slow_conv_dilated3d"), _count_plain_convolution),
    **dict.fromkeys(("_conv_depthwise2d", "conv_depthwise3d"), _count_plain_convolution),
    **dict.fromkeys(("slow_conv_transpose2d", "slow_conv_transpose3d"), _count_transposed_convolution),
    "convolution_backward": _count_convolution_gradients,
    "conv_tbc": _count_time_convolution,
    "_native_multi_head_attention": _count_multihead_attention,
    "_transformer_encoder_layer_fwd": _count_encoder_layer,
}
FORMULAS: dict[str, Formula] = {
    DEFORM: _count_plain_convolution,
    **{f"aten::{name}": f for name, f in _ATEN_FORMULAS.items()},
}
