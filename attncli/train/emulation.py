"""bf16 convolutions on a CPU that has no instructions for bf16.

torch has kernels for them there, but they take ten times as long as float32, add up gradients in bf16, and in
channels_last they read the memory wrong if a dimension of size 1 has an unusual stride, which is harmless elsewhere: a
computed kernel (a view, an unsqueezed one) raises "slow_conv2d: grad_weight must be contiguous", and an input of a
grouped convolution gives a wrong gradient without a word. Here the bf16 numbers are multiplied and added up in
float32, and the result is rounded to bf16: the arithmetic of the instructions, in kernels that are well tested.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from attncli.attention.safe_convolution import overruns_weight_gradient

Convolution = Callable[..., Tensor]

CONVOLUTIONS = (
    torch.conv1d, torch.conv2d, torch.conv3d, torch.convolution,
    torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
)  # fmt: skip
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class EmulatedConvolutions(TorchFunctionMode):
    """A context in which every convolution of bf16 numbers is emulated, whoever calls it: a layer or a function."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or its emulation."""
        call = partial(emulate_convolution, func) if func in CONVOLUTIONS else func
        return call(*args, **(kwargs or {}))


def emulate_convolution(
    convolution: Convolution,
    input: Tensor,  # noqa: A002, torch's name for it, which callers may use
    weight: Tensor,
    bias: Tensor | None = None,
    *args: Any,
    **options: Any,
) -> Tensor:
    """Return `convolution(input, weight, bias, ...)`, emulated if it is one of bf16 numbers."""
    if not is_bf16_convolution(input, weight):
        return convolution(input, weight, bias, *args, **options)
    layout = choose_layout(input, weight)
    x = round_to_bf16(input, torch.contiguous_format if overruns_weight_gradient(weight) else layout)
    kernel = round_to_bf16(weight, torch.contiguous_format)  # torch lays it out as the input, with usual strides
    offset = None if bias is None else round_to_bf16(bias, torch.contiguous_format)
    with torch.autocast("cpu", enabled=False):
        y = convolution(x, kernel, offset, *args, **options)
    return y.to(torch.bfloat16, memory_format=layout)


def is_bf16_convolution(x: Tensor, weight: Tensor) -> bool:
    """Return whether a convolution of these is one of bf16 numbers: they are, or autocast makes them so."""
    dtypes = {x.dtype, weight.dtype}
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
        return dtypes <= {torch.float32, torch.bfloat16, torch.float16}
    return dtypes == {torch.bfloat16}


def choose_layout(x: Tensor, weight: Tensor) -> torch.memory_format:
    """Return the layout that torch gives the result: channels_last if one of the two is in it."""
    last = CHANNELS_LAST.get(weight.ndim)
    if last is None or x.ndim != weight.ndim:  # a single image without the dimension N
        return torch.contiguous_format
    return (
        last
        if has_channels_last_strides(x, last) or has_channels_last_strides(weight, last)
        else torch.contiguous_format
    )


def has_channels_last_strides(t: Tensor, last: torch.memory_format) -> bool:
    """Return whether t is in channels_last; the strides tell, if its shape makes it contiguous in both layouts."""
    by_strides = t.stride(1) == 1 and t.stride(-1) == t.shape[1] and t.shape[1:].numel() > 1
    return t.is_contiguous(memory_format=last) and (by_strides or not t.is_contiguous())


def round_to_bf16(t: Tensor, layout: torch.memory_format) -> Tensor:
    """Return t rounded to bf16, as float32 in new memory of this layout."""
    return t.to(torch.bfloat16).to(torch.float32, memory_format=layout)
