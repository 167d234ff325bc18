"""Faster convolutions on CPUs: which modules of a network get them, by the rules of this CPU's kernels."""

from typing import cast

import torch
from torch import nn

from attncli.attention.safe_convolution import SafeConv2d
from attncli.train.depthwise_convolution import GRADIENT_RULES, DepthwiseConvolution, is_depthwise
from attncli.train.dilated_convolution import DilatedDepthwiseConvolution, is_dilated_depthwise
from attncli.train.precision import choose_cpu_kernels
from attncli.train.small_map_convolution import PRODUCT_RULES, SmallMapConvolution, has_croppable_kernel


def speed_up_convolutions(model: nn.Module, device: torch.device, precision: str) -> None:
    """Let the convolutions of a network take the faster ways, on a CPU, in float32 or native bf16.

    Nothing changes elsewhere. Plain `nn.Conv2d` modules change their class in place, not their weights.
    """
    kernels = choose_cpu_kernels(precision) if device.type == "cpu" else None
    if kernels is None:
        return
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, SafeConv2d):
            continue
        if has_croppable_kernel(module):
            module.__class__ = SmallMapConvolution
            cast(SmallMapConvolution, module).product_rule = PRODUCT_RULES[kernels]
        elif is_depthwise(module) or is_dilated_depthwise(module):
            module.__class__ = DepthwiseConvolution if is_depthwise(module) else DilatedDepthwiseConvolution
            cast(DepthwiseConvolution, module).gradient_rule = GRADIENT_RULES[kernels]
