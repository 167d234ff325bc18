"""Corruptions do what their definitions say, more at each severity, and always the same."""

import numpy as np
import pytest

from attncli.trained.corruption_parameters import PARAMETERS, SEVERITIES
from attncli.trained.corruptions import CORRUPTIONS, _blur_along_line, _blur_through_glass, corrupt_images


def draw_photographs(side: int = 32, count: int = 4) -> np.ndarray:
    """Smooth colourful images with an edge."""
    grid = np.linspace(0, 1, side)
    plane = 0.2 + 0.5 * np.outer(grid, grid[::-1]) + 0.25 * (grid[None] > 0.5)
    images = np.stack([np.stack([plane * k, plane[::-1] * 0.8, plane.T], -1) for k in np.linspace(0.5, 1, count)])
    return (255 * images.clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption(name: str) -> None:
    """Same shape and type, the same pixels again, others at another severity, farther away at 5 than at 1."""
    images = draw_photographs()
    mild, severe = corrupt_images(images, name, 1), corrupt_images(images, name, 5)
    assert (mild.shape, mild.dtype) == (images.shape, np.uint8)
    assert np.array_equal(severe, corrupt_images(images, name, 5))
    distance = [np.abs(x.astype(int) - images.astype(int)).mean() for x in (mild, severe)]
    assert distance[1] > 0
    if name != "elastic":  # its severities trade an affine map for a rough field
        assert distance[0] < distance[1]


def test_there_are_fifteen_with_five_severities_for_three_sizes() -> None:
    """As in the paper's table."""
    assert len(CORRUPTIONS) == 15
    assert CORRUPTIONS.keys() == PARAMETERS.keys()
    assert all(len(table) == len(SEVERITIES) for p in PARAMETERS.values() for table in (p.small, p.medium, p.large))


def test_values_of_the_definitions() -> None:
    """Noise has its standard deviation, contrast its factor, brightness its step, impulse its share."""
    grey = np.full((16, 32, 32, 3), 128, np.uint8)
    noise = corrupt_images(grey, "gaussian-noise", 5).astype(float) / 255
    assert noise.std() == pytest.approx(0.10, rel=0.02)
    shot = corrupt_images(grey, "shot-noise", 5).astype(float) / 255
    assert shot.std() == pytest.approx((128 / 255 / 50) ** 0.5, rel=0.03)  # Poisson: variance x / c
    impulse = corrupt_images(grey, "impulse-noise", 5)
    assert np.isin(impulse, (0, 255)).mean() == pytest.approx(0.07, abs=0.005)
    assert abs(int(corrupt_images(grey, "brightness", 5)[0, 0, 0, 0]) - (128 + 255 * 0.3)) <= 0.5
    images = draw_photographs()
    flat = corrupt_images(images, "contrast", 1).astype(float)
    assert flat[0, ..., 0].std() / images[0, ..., 0].std() == pytest.approx(0.75, rel=0.02)


def test_blurs_keep_the_mean_and_lose_contrast() -> None:
    """The kernels sum to one."""
    images = draw_photographs()
    for name in ("defocus-blur", "motion-blur", "zoom-blur"):
        blurred = corrupt_images(images, name, 5).astype(float)
        assert blurred.mean() == pytest.approx(images.mean(), rel=0.03)
        assert np.abs(np.diff(blurred, axis=2)).max() < np.abs(np.diff(images.astype(float), axis=2)).max()


@pytest.mark.parametrize(("side", "sd"), [(63, 0.08), (64, 0.12), (127, 0.12), (128, 0.18)])
def test_parameters_are_those_of_the_size(side: int, sd: float) -> None:
    """CIFAR-10-C below 64 px, Tiny-ImageNet-C below 128, ImageNet-C above: the noise of severity 3."""
    grey = np.full((2, side, side, 3), 128, np.uint8)
    assert (corrupt_images(grey, "gaussian-noise", 3) / 255).std() == pytest.approx(sd, rel=0.05)


def copy_near_pixels(image: np.ndarray, generator: np.random.Generator, reach: int, rounds: int) -> np.ndarray:
    """The published loop over an image (H, W, 3): what it swaps are views, so a pixel changes and the other does not.

    From the last row and column it goes up to the one after `reach`; the shifts are -reach to reach - 1.
    """
    x, side = image.copy(), len(image)
    for _ in range(rounds):
        for h in range(side - reach, reach, -1):
            for w in range(side - reach, reach, -1):
                dx, dy = generator.integers(-reach, reach, size=2)
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return x


@pytest.mark.parametrize(("reach", "rounds"), [(1, 1), (1, 2), (3, 2)])
def test_glass_moves_pixels_as_published(reach: int, rounds: int) -> None:
    """With a blur too narrow to change anything, the pixels are those of the published loop."""
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    expected = copy_near_pixels(image, np.random.default_rng(1), reach, rounds)
    x = image[None].astype(np.float32) / 255
    y = _blur_through_glass(x, np.random.default_rng(1), (0.01, reach, rounds))
    assert np.array_equal(np.round(y[0] * 255).astype(np.uint8), expected)


@pytest.mark.parametrize("angle", [0, 30, -45, -110])
def test_motion_is_blurred_as_by_imagemagick(angle: float) -> None:
    """Each pixel is a mean of those from it on, up to twice the radius; beyond the edge the last one repeats."""
    image = np.random.default_rng(0).random((24, 20, 3)).astype(np.float32)
    radius, sigma = 7, 6.0
    expected, total = np.zeros(image.shape), 0.0
    for i in range(2 * radius + 1):
        weight = np.exp(-(i**2) / (2 * sigma**2))
        rows = np.arange(24) + round(i * np.sin(np.deg2rad(angle)))
        columns = np.arange(20) + round(i * np.cos(np.deg2rad(angle)))
        expected += weight * image[np.ix_(rows.clip(0, 23), columns.clip(0, 19))]
        total += weight
    assert np.allclose(_blur_along_line(image, radius, sigma, angle), expected / total, atol=1e-5)


def test_motion_is_as_long_as_published() -> None:
    """A point of light in an image of ImageNet's size leaves a trace of more than its radius, 15 px, at severity 4."""
    dark = np.zeros((4, 128, 128, 3), np.uint8)
    dark[:, 64, 64] = 255
    lit = corrupt_images(dark, "motion-blur", 4).any((0, 1, 3))
    assert np.ptp(np.flatnonzero(lit)) > 20
