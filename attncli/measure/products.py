"""Multiply-accumulates of one call of an operator, by formulas that are the same in every version of torch.

One multiplication and one addition count once. A product counts in full, masked or not; a bias counts nothing.
Operators are known by name, so that a formula may stand here for one that not every version has.
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
FUSED = "aten::_scaled_dot_product_"  # what begins the name of every kernel of attention


def macs(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int | None:
    """Return the multiply-accumulates of a call that gave `out`; None for an operator without a formula."""
    formula = formula_of(operator)
    if formula is None:
        return None
    rest = operator._schema.arguments[len(args) :]
    return formula([*args, *(kwargs.get(a.name, a.default_value) for a in rest)], out)


def formula_of(operator: OpOverload) -> Formula | None:
    """Return the formula of an operator, one that works in place included; None if it has none."""
    name: str = operator._schema.name
    if name.startswith(FUSED):
        return _attention_backward if name.endswith("_backward") else _attention
    return FORMULAS.get(name.removesuffix("_"))


def _product(first: int) -> Formula:
    """Return the formula for operators that multiply argument `first` by the next: vectors, matrices or batches."""

    def formula(given: list[Any], _: Any) -> int:
        a, b = given[first : first + 2]
        return int(a.numel() * (b.shape[-1] if b.ndim > 1 else 1))

    return formula


def _linear(given: list[Any], _: Any) -> int:
    x, weight, *_ = given  # weight: (out, in) or (in)
    return int(x.numel() * prod(weight.shape[:-1]))


def _grouped_product(given: list[Any], _: Any) -> int:
    """Count a product in groups: a matrix `b` is cut along its columns, one part for each matrix of `a`."""
    a, b, *_ = given
    return int(a.numel() * b.shape[-1] // (len(a) if a.ndim > b.ndim else 1))


def _trilinear(given: list[Any], _: Any) -> int:
    """Count a * b, summed over the axes that c lacks, then that times c; `without` are the axes that each lacks."""
    a, b, c, *without, summed, _ = given
    axes = range(a.ndim + len(without[0]))
    whole = [max(sizes) for sizes in zip(*map(_spread, (a, b, c), without), strict=True)]
    first = prod(whole[i] for i in axes if not (i in without[0] and i in without[1]))
    return first + prod(whole[i] for i in axes if not (i in without[2] and i in summed))


def _spread(t: Tensor, without: list[int]) -> list[int]:
    sizes = iter(t.shape)
    return [1 if i in without else next(sizes) for i in range(t.ndim + len(without))]


def _windows(given: list[Any], out: Tensor) -> int:
    """Count one window of the weight, (C, C_in / groups, ...), for each element of the result."""
    return out.numel() * prod(given[1].shape[1:])


def _windows_transposed(given: list[Any], _: Tensor) -> int:
    """Count one window of the weight, (C_in, C / groups, ...), for each element of the input."""
    return int(given[0].numel() * prod(given[1].shape[1:]))


def _convolution(given: list[Any], out: Tensor) -> int:
    return (_windows_transposed if given[6] else _windows)(given, out)


def _convolution_backward(given: list[Any], _: Any) -> int:
    gradient, x, weight, transposed, wanted = *given[:3], given[7], given[10]
    forward = (_windows_transposed if transposed else _windows)([x, weight], gradient)
    return forward * sum(wanted[:2])  # the gradients of input and weight


def _time_convolution(given: list[Any], out: Tensor) -> int:
    return int(out.numel() * prod(given[1].shape[:2]))  # weight: (kernel, C_in, C)


def _attention(given: list[Any], out: Any) -> int:
    """Count queries (..., L, E) times keys (..., S, E), and that times values (..., S, V), for each head of queries."""
    q, k, v, *_ = given
    result = out if isinstance(out, Tensor) else out[0]  # (..., L, V)
    return int(prod(result.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1]))


def _attention_backward(given: list[Any], _: Any) -> int:
    """Count the weights made anew, and one product for each gradient: values, weights, queries, keys."""
    gradient, q, k, v, *_ = given
    return int(prod(gradient.shape[:-1]) * k.shape[-2] * (3 * q.shape[-1] + 2 * v.shape[-1]))


def _multihead_attention(given: list[Any], _: Any) -> int:
    """Count four projections and two products; queries (N, L, E), keys and values (N, S, E)."""
    q, k, v, *_ = given
    return int(q.shape[-1] * (2 * q.numel() + k.numel() + v.numel()) + 2 * q.numel() * k.shape[-2])


def _encoder_layer(given: list[Any], _: Any) -> int:
    x, hidden, back = given[0], given[14], given[16]
    return _multihead_attention([x, x, x], None) + prod(x.shape[:-1]) * int(hidden.numel() + back.numel())


_OF_ATEN: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm", "_scaled_mm_v2"), _product(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"), _product(1)),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"), _grouped_product),
    "linear": _linear,
    "_trilinear": _trilinear,
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    **dict.fromkeys(("_slow_conv2d_forward", "slow_conv3d_forward", "mkldnn_convolution"), _windows),
    **dict.fromkeys(("slow_conv_dilated2d", "slow_conv_dilated3d"), _windows),
    **dict.fromkeys(("_conv_depthwise2d", "conv_depthwise3d"), _windows),
    **dict.fromkeys(("slow_conv_transpose2d", "slow_conv_transpose3d"), _windows_transposed),
    "convolution_backward": _convolution_backward,
    "conv_tbc": _time_convolution,
    "_native_multi_head_attention": _multihead_attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
}
FORMULAS: dict[str, Formula] = {DEFORM: _windows, **{f"aten::{name}": f for name, f in _OF_ATEN.items()}}
