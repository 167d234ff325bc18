"""Convolutions of small maps: the same numbers as torch's, and fewer taps."""

import pytest
import torch
import torch.nn.functional as F

from attncli.model import InputSpec, build
from attncli.recipe import Recipe
from attncli.train.small_map_convolution import (
    SmallMapConvolution,
    convolve_small_maps,
    find_used_taps,
    speed_up_small_maps,
)

CASES = [
    (height, width, taps, stride, padding)
    for height, width in ((1, 1), (2, 2), (1, 3), (4, 2), (3, 3), (5, 4))
    for taps in (1, 2, 3, 5, 7)
    for stride in (1, 2, 3)
    for padding in (0, taps // 2, taps - 1)
    if min(height, width) + 2 * padding >= taps
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(layout: torch.memory_format) -> None:
    """In float64 they agree to 1e-12 for every size of map and kernel, stride and padding."""
    g = torch.Generator().manual_seed(0)
    for height, width, taps, stride, padding in CASES:
        tensors = [torch.randn(2, 5, height, width, generator=g), torch.randn(4, 5, taps, taps, generator=g)]
        tensors = [t.double().to(memory_format=layout) for t in tensors] + [torch.randn(4, generator=g).double()]
        results = []
        for convolve in (convolve_small_maps, F.conv2d):
            x, weight, bias = (t.clone().requires_grad_() for t in tensors)
            y = convolve(x, weight, bias, (stride, stride), (padding, padding))
            results.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), (x, weight, bias))])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("pixels", "channels", "by_products"),
    [(2, 8, True), (3, 8, False), (3, 256, False), (7, 512, True), (8, 512, False)],
)
def test_which_gradients_are_matrix_products(pixels: int, channels: int, by_products: bool) -> None:
    """Those of maps of four pixels, and of wide kernels up to 7 x 7."""
    x, weight = torch.zeros(1, channels, pixels, pixels), torch.zeros(channels, channels, 3, 3, requires_grad=True)
    y = convolve_small_maps(x, weight, None, (1, 1), (1, 1))
    assert (type(y.grad_fn).__name__ == "_TapwiseGradientBackward") == by_products


@pytest.mark.parametrize(
    ("pixels", "taps", "stride", "padding", "used"),
    [
        (1, 3, 1, 1, range(1, 2)),  # only the centre
        (2, 3, 1, 1, range(3)),
        (2, 3, 2, 1, range(1, 3)),
        (2, 7, 1, 3, range(2, 5)),
        (8, 3, 1, 1, range(3)),
        (2, 2, 1, 0, range(2)),
    ],
)
def test_taps_that_meet_only_padding_are_left_out(
    pixels: int, taps: int, stride: int, padding: int, used: range
) -> None:
    """The taps in use follow from the sizes."""
    assert find_used_taps(pixels, taps, stride, padding) == used


def test_only_float32_on_a_cpu_without_avx512_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a network trains to the same gradients; with AVX-512, in bf16 and on other devices nothing changes."""
    spec = InputSpec(classes=4, size=(8, 8), frames=None)
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    gradients = []
    for capability, device, precision, changes in (
        ("AVX512", "cpu", "fp32", False),
        ("AVX2", "meta", "fp32", False),
        ("AVX2", "cpu", "bf16", False),
        ("AVX2", "cpu", "fp32", True),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        torch.manual_seed(0)
        model = build(Recipe.model_validate({"model": {"backbone": "resnet18", "attn": "none"}}), spec)
        model.eval()  # batch norms of three images of one pixel would multiply rounding errors
        speed_up_small_maps(model, torch.device(device), precision)
        assert any(isinstance(m, SmallMapConvolution) for m in model.modules()) == changes
        if device == "cpu" and precision == "fp32":
            model(x).square().sum().backward()
            gradients.append([p.grad for p in model.parameters()])
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
