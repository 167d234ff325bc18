"""Convolutions whose kernels differ by position."""

import pytest
import torch
from torch.nn import functional as F

from attncli.attention import local_convolution
from attncli.attention.local_convolution import convolve_locally


@pytest.mark.parametrize(("k", "stride", "size"), [(3, 1, (4, 5)), (5, 2, (7, 4)), (7, 2, (3, 3)), (1, 1, (2, 3))])
def test_equal_kernels_are_a_convolution(k: int, stride: int, size: tuple[int, int]) -> None:
    """With the same kernel everywhere it is a depth-wise convolution whose groups share kernels."""
    g, c = 2, 3
    x = torch.randn(2, g, c, *size, dtype=torch.float64)
    weight = torch.randn(g, k * k, dtype=torch.float64)
    kernels = weight[None, :, :, None, None].expand(2, -1, -1, *(-(-s // stride) for s in size))
    shared = weight.view(g, 1, 1, k, k).expand(-1, c, 1, -1, -1).flatten(0, 1)
    expected = F.conv2d(x.flatten(1, 2), shared, stride=stride, padding=k // 2, groups=g * c)
    torch.testing.assert_close(convolve_locally(x, kernels, stride).flatten(1, 2), expected)


def test_each_position_has_its_kernel() -> None:
    """One position's kernel picks its right neighbour, all others are zero."""
    x = torch.arange(9.0).view(1, 1, 1, 3, 3)
    kernels = torch.zeros(1, 1, 9, 3, 3)
    kernels[0, 0, 5, 1, 1] = 2.0
    expected = torch.zeros(1, 1, 1, 3, 3)
    expected[..., 1, 1] = 2 * 5.0
    assert torch.equal(convolve_locally(x, kernels), expected)


@pytest.mark.parametrize(
    ("groups", "width", "k", "stride", "size"),
    [
        (2, 3, 3, 1, (5, 4)), (2, 3, 7, 2, (9, 6)), (1, 4, 5, 2, (3, 3)), (3, 2, 3, 1, (1, 1)), (2, 2, 7, 1, (4, 12)),
        (2, 2, 5, 3, (7, 8)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("numbers", [1, 300, 1 << 18])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_as_rows_give_the_same(
    groups: int,
    width: int,
    k: int,
    stride: int,
    size: tuple[int, int],
    numbers: int,
    layout: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and both gradients in float64, with one image at a time, a few, or all; the layout of the map is kept."""
    torch.manual_seed(0)
    maps = torch.randn(5, groups * width, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    kernels = torch.randn(
        5, groups, k * k, *(-(-side // stride) for side in size), dtype=torch.float64
    ).requires_grad_()
    x = maps.unflatten(1, (groups, width))
    monkeypatch.setattr(local_convolution, "CACHED_NUMBERS", numbers)
    monkeypatch.setattr(local_convolution, "FEWEST_IMAGES", 6)
    expected = convolve_locally(x, kernels, stride)
    monkeypatch.setattr(local_convolution, "FEWEST_IMAGES", 3)
    got = convolve_locally(x, kernels, stride)
    torch.testing.assert_close(got, expected)
    assert got.flatten(1, 2).is_contiguous(memory_format=layout)
    weights = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, (maps, kernels), weights, retain_graph=True) for y in (got, expected))
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their)
    assert ours[0].is_contiguous(memory_format=layout)


def test_half_precision_is_added_up_in_float32() -> None:
    """Of 289 ones; added up in bf16 they would stay at 256, as it has no number for 257."""
    x, kernels = torch.ones(3, 1, 1, 17, 17).bfloat16(), torch.ones(3, 1, 17 * 17, 17, 17).bfloat16()
    assert convolve_locally(x, kernels)[0, 0, 0, 8, 8] == 288  # 289, rounded once
