"""Convolutions of few planes by rows."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.attention.plane_conv import MAX_ROW_WIDTH, PlaneConv2d, convolve_rows, make_banded_kernel


def noise(*shape: int, seed: int = 0) -> Tensor:
    """In float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("planes_in", "planes", "k", "h", "w"),
    [(2, 1, 7, 8, 8), (2, 1, 7, 5, 12), (2, 1, 7, 2, 2), (1, 1, 3, 4, 1), (2, 3, 5, 6, 4), (2, 1, 1, 3, 3)],
)
def test_rows_give_the_same(planes_in: int, planes: int, k: int, h: int, w: int) -> None:
    """Values and both gradients, also where the map is smaller than the kernel."""
    x, weight = noise(3, planes_in, h, w).requires_grad_(), noise(planes, planes_in, k, k, seed=1).requires_grad_()
    expected, got = F.conv2d(x, weight, padding=k // 2), convolve_rows(x, weight)
    torch.testing.assert_close(got, expected)
    g = noise(*expected.shape, seed=2)
    for a, b in zip(torch.autograd.grad(got, (x, weight), g), torch.autograd.grad(expected, (x, weight), g),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)


def test_the_band_of_a_kernel() -> None:
    """A kernel row (a, b, c) on three columns: its middle on the diagonal, zero outside of the map."""
    a, b, c = 1.0, 2.0, 3.0
    kernel = torch.tensor([a, b, c]).view(1, 1, 1, 3).expand(1, 1, 3, 3)
    assert make_banded_kernel(kernel, 3)[:, :, 0].tolist() == [[b, c, 0], [a, b, c], [0, a, b]]


def test_the_layer_is_a_convolution() -> None:
    """In either way: the same name of its weight, the same figures to bf16's rounding; wide maps the plain way."""
    layer, plain = PlaneConv2d(2, 1, 7), torch.nn.Conv2d(2, 1, 7, padding=3, bias=False)
    plain.load_state_dict(layer.state_dict())
    for w in (8, MAX_ROW_WIDTH + 1):
        x = noise(2, 2, 4, w).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            got = layer(x)
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), plain(x.float()), rtol=2e-2, atol=2e-2)
