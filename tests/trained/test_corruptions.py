"""Corruptions do what their definitions say, more at each severity, and always the same."""

import numpy as np
import pytest

from attncli.trained.corruptions import CORRUPTIONS, SEVERITIES, corrupt_images


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


def test_there_are_fifteen_with_five_severities_for_two_sizes() -> None:
    """As in the paper's table."""
    assert len(CORRUPTIONS) == 15
    assert all(len(table) == len(SEVERITIES) for c in CORRUPTIONS.values() for table in (c.small, c.large))


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


def test_large_images_get_the_parameters_of_imagenet() -> None:
    """From 64 px: the noise of severity 1 is 0.08 instead of 0.04."""
    for side, sd in ((63, 0.04), (64, 0.08)):
        grey = np.full((2, side, side, 3), 128, np.uint8)
        assert (corrupt_images(grey, "gaussian-noise", 1) / 255).std() == pytest.approx(sd, rel=0.05)
