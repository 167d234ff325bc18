"""bf16 on a CPU without instructions for it: a process that prints as JSON what convolutions and trainings come to."""

import json
import sys
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.model import build
from attncli.run import make_input_spec
from attncli.train import autocast_context, train_model
from attncli.train.precision import has_native_bf16
from tests.train import case

CPU = torch.device("cpu")
LAYOUTS = ("contiguous", "channels_last", "view")
KINDS = {  # the function, the shapes of its input and its kernel, its options
    "few planes": (F.conv2d, (4, 2, 6, 6), (1, 2, 3, 3), {"padding": 1}),
    "one image": (F.conv2d, (1, 3, 6, 6), (8, 3, 3, 3), {"padding": "same"}),
    "many planes": (F.conv2d, (2, 32, 5, 5), (24, 32, 3, 3), {"padding": 1}),
    "row": (F.conv2d, (4, 3, 1, 6), (2, 3, 1, 3), {"padding": (0, 1)}),
    "column": (F.conv2d, (4, 3, 6, 1), (2, 3, 3, 1), {"padding": (1, 0)}),
    "pointwise": (F.conv2d, (4, 3, 6, 1), (1, 3, 1, 1), {}),
    "pointwise, grouped": (F.conv2d, (4, 4, 6, 1), (6, 2, 1, 1), {"groups": 2}),
    "pointwise, strided": (F.conv2d, (4, 3, 6, 6), (8, 3, 1, 1), {"stride": 2}),
    "grouped": (F.conv2d, (1, 4, 6, 6), (6, 2, 3, 3), {"padding": 1, "groups": 2}),
    "depthwise": (F.conv2d, (4, 8, 6, 1), (8, 1, 3, 1), {"padding": (1, 0), "groups": 8}),
    "strided": (F.conv2d, (4, 2, 6, 6), (1, 2, 7, 7), {"padding": 3, "stride": 2}),
    "dilated": (F.conv2d, (4, 3, 9, 1), (2, 3, 3, 1), {"padding": (2, 0), "dilation": 2}),
    "transposed": (F.conv_transpose2d, (4, 3, 6, 1), (3, 2, 3, 1), {}),
    "transposed, pointwise": (F.conv_transpose2d, (4, 8, 6, 6), (8, 3, 1, 1), {"stride": 2}),
    "1d": (F.conv1d, (4, 2, 6), (1, 2, 3), {"padding": 1}),
    "transposed 1d": (F.conv_transpose1d, (4, 1, 6), (1, 2, 3), {}),
    "3d": (F.conv3d, (1, 2, 3, 6, 1), (4, 2, 1, 3, 1), {"padding": (0, 1, 0)}),
    "transposed 3d": (F.conv_transpose3d, (1, 2, 3, 6, 1), (2, 4, 1, 3, 1), {"stride": 2}),
}


def noise(*sizes: int, seed: int) -> Tensor:
    """Numbers that bf16 holds exactly."""
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed)).bfloat16()


def lay(t: Tensor, layout: str) -> Tensor:
    """t in memory of its own: contiguous or with the planes innermost; a view's dimensions of size 1 have stride 1."""
    if layout == "contiguous":
        return t.clone(memory_format=torch.contiguous_format)
    t = t.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
    strides = [1 if size == 1 else stride for size, stride in zip(t.shape, t.stride(), strict=True)]
    return t.as_strided(t.shape, strides) if layout == "view" else t


def through(kind: str, x: Tensor, kernel: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
    """The result of a kind of convolution, and the gradients of input, kernel and bias."""
    function, _, _, options = KINDS[kind]
    leaves = [t.detach().requires_grad_() for t in (x, kernel, offset)]
    with autocast_context("bf16" if x.dtype == torch.bfloat16 else "fp32", CPU):
        y = function(input=leaves[0], weight=leaves[1], bias=leaves[2], **options)
    return y.detach(), *torch.autograd.grad(y, leaves, noise(*y.shape, seed=2).to(y.dtype))


def error(kind: str, of_input: str, of_kernel: str) -> float | str:
    """By how much a convolution in bf16 and its gradients are off, at most, of the largest value; or why it fails."""
    function, sizes, kernel_sizes, options = KINDS[kind]
    planes = kernel_sizes[1] * options.get("groups", 1) if "transpose" in function.__name__ else kernel_sizes[0]
    x, kernel, offset = noise(*sizes, seed=0), noise(*kernel_sizes, seed=1), noise(planes, seed=3)
    exact = through(kind, x.double(), kernel.double(), offset.double())
    try:
        rounded = through(kind, lay(x, of_input), lay(kernel, of_kernel), offset)
    except RuntimeError as problem:
        return str(problem)
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(rounded, exact, strict=True))


def losses(attn: str, precision: str) -> list[float] | str:
    """The losses of a training in channels_last with maps of 1 x 1 in its last stage; or why it fails."""
    made = case.recipe(precision=precision, epochs=1, lr=0.003)
    made = made.model_copy(update={"model": made.model.model_copy(update={"backbone": "resnet18", "attn": attn})})
    data = case.dataset(n=16, val=None)
    try:
        return [epoch.train_loss for epoch in train_model(build(made, make_input_spec(data)), data, made)]
    except RuntimeError as problem:
        return str(problem)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        json.dumps(
            {
                "native": has_native_bf16(CPU),
                "errors": {", ".join(names): error(*names) for names in product(KINDS, LAYOUTS, LAYOUTS)},
                "losses": {attn: [losses(attn, "bf16"), losses(attn, "fp32")] for attn in sys.argv[1:]},
            }
        )
    )
