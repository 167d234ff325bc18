"""Common corruptions of images (Hendrycks and Dietterich 2019, arXiv 1903.12261), computed from their definitions.

Fifteen corruptions with severities 1 to 5: CIFAR-10-C for images below 64 px, Tiny-ImageNet-C below 128 px, ImageNet-C
for larger ones. The code is our own, so single pixels differ from the published files; frost lays drawn ice over the
image, as the paper's photographs of ice are not part of this project. Elastic shifts are shares of the image's side,
which at 224 px the authors took as 244.
"""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from attncli.seeds import derive_seed
from attncli.trained.corruption_parameters import PARAMETERS

Pixels = NDArray[np.uint8]  # (n, H, W, 3)
Floats = NDArray[Any]  # floating point, (n, H, W, 3) from 0 to 1
ICE_DECAY = 1.265  # of the drawn ice, our own choice
CHUNK = 256  # images that one stream of random numbers serves


def corrupt_images(images: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    """Return the images (n, H, W, 3) with a corruption; equal arguments give equal pixels.

    Raises KeyError for an unknown name or severity.
    """
    corrupt, parameters = CORRUPTIONS[name], PARAMETERS[name].choose(images.shape[1], severity)
    chunks = []
    for number, start in enumerate(range(0, len(images), CHUNK)):
        generator = np.random.default_rng(derive_seed(seed, "corruption", name, severity, number))
        x = images[start : start + CHUNK].astype(np.float32) / 255
        chunks.append(np.round(corrupt(x, generator, parameters).clip(0, 1) * 255).astype(np.uint8))
    return np.concatenate(chunks)


def _add_gaussian_noise(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    return x + generator.normal(0, parameters[0], x.shape).astype(np.float32)


def _add_shot_noise(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Count photons: Poisson noise at so many photons for white."""
    return (generator.poisson(x * parameters[0]) / parameters[0]).astype(np.float32)


def _add_impulse_noise(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Set a share of the values to 0 or 1."""
    drawn = generator.random(x.shape)
    return np.where(drawn < parameters[0] / 2, 0, np.where(drawn < parameters[0], 1, x)).astype(np.float32)


def _convolve(x: Floats, kernel: NDArray[np.float64]) -> Floats:
    """Return every plane of every image convolved with one kernel (k, k)."""
    return ndimage.convolve(x, kernel[None, :, :, None].astype(np.float32), mode="reflect")


def _blur(x: Floats, sigma: float) -> Floats:
    return ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="reflect")


def _blur_defocused(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Convolve with a disc of a radius, its edge smoothed."""
    radius, smoothing = parameters
    half = max(4, int(radius) + 2) if radius <= 8 else int(radius) + 4
    grid = np.arange(-half, half + 1)
    disc = (grid[:, None] ** 2 + grid[None] ** 2 <= radius**2).astype(np.float64)
    disc = ndimage.gaussian_filter(disc / disc.sum(), smoothing)
    return _convolve(x, disc / disc.sum())


def _blur_through_glass(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Give pixels the color of near ones, between two blurs.

    The authors' code means to exchange them. What it exchanges are views of one array, so that only one way is copied.
    """
    sigma, reach, rounds = parameters[0], int(parameters[1]), int(parameters[2])
    y = _blur(x, sigma).copy()
    height, width = x.shape[1:3]
    for _ in range(rounds):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                right, down = generator.integers(-reach, reach, size=2)  # up to reach - 1
                y[:, row, column] = y[:, row + down, column + right]
    return _blur(y, sigma)


def _blur_along_line(image: Floats, radius: float, sigma: float, angle: float) -> Floats:
    """Return one image (H, W, 3) in which each pixel is a mean along a line from it, as ImageMagick blurs motion.

    The weights are half a Gaussian. The line, at an angle (degrees) downwards from the right, has twice the radius.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2)).astype(np.float32)
    downs, rights = (np.round(f(np.deg2rad(angle)) * steps).astype(int) for f in (np.sin, np.cos))
    margin, (height, width) = len(steps), image.shape[:2]
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    blurred = np.zeros_like(image)
    for weight, top, start in zip(weights / weights.sum(), margin + downs, margin + rights, strict=True):
        blurred += weight * wide[top : top + height, start : start + width]
    return blurred


def _blur_in_motion(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    radius, sigma = parameters
    angles = generator.uniform(-45, 45, len(x))
    return np.stack([_blur_along_line(image, radius, sigma, angle) for image, angle in zip(x, angles, strict=True)])


def _zoom(x: Floats, factor: float) -> Floats:
    """Return the centre of the images enlarged by a factor to the same size."""
    height, width = x.shape[1:3]
    rows = (np.arange(height) - (height - 1) / 2) / factor + (height - 1) / 2
    columns = (np.arange(width) - (width - 1) / 2) / factor + (width - 1) / 2
    return _sample_grid(x, *np.meshgrid(rows, columns, indexing="ij"))


def _sample_grid(x: Floats, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> Floats:
    """Return the images sampled (bilinear, mirrored at the edges) at positions (H, W) or (n, H, W)."""
    positions = [np.broadcast_to(p, (len(x), *x.shape[1:3])) for p in (rows, columns)]
    planes = [
        np.stack([ndimage.map_coordinates(image[..., plane], [r, c], order=1, mode="reflect")
                  for image, r, c in zip(x, *positions, strict=True)])
        for plane in range(3)
    ]  # fmt: skip
    return np.stack(planes, axis=-1)


def _blur_by_zoom(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Return the mean of the images and of enlarged ones up to a factor."""
    largest, step = parameters
    factors = np.arange(1, largest, step)
    return (x + sum(_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def _draw_plasma(generator: np.random.Generator, count: int, side: int, decay: float) -> NDArray[np.float64]:
    """Return (n, side, side) clouds from 0 to 1: midpoint displacement, each octave weaker by the square of `decay`.

    The authors' code multiplies its uniform numbers, from -w to w, with w again, and divides w by `decay` per octave.
    """
    clouds, amplitude, cells = np.zeros((count, side, side)), 1.0, 2
    while cells <= side:
        grid = generator.uniform(-amplitude, amplitude, (count, cells + 1, cells + 1))
        scale = np.linspace(0, cells, side)
        clouds += np.stack(
            [ndimage.map_coordinates(g, np.meshgrid(scale, scale, indexing="ij"), order=1) for g in grid]
        )
        amplitude, cells = amplitude / decay**2, cells * 2
    low, high = clouds.min((1, 2), keepdims=True), clouds.max((1, 2), keepdims=True)
    return (clouds - low) / (high - low)


def _add_fog(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    strength, decay = parameters
    brightest = x.max((1, 2, 3), keepdims=True)
    clouds = _draw_plasma(generator, len(x), max(x.shape[1:3]), decay)[:, : x.shape[1], : x.shape[2], None]
    return ((x + strength * clouds) * brightest / (brightest + strength)).astype(np.float32)


def _add_frost(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Darken the images and lay ice over them: bright veins of clouds with a blue tint."""
    own_share, ice_share = parameters
    clouds = _draw_plasma(generator, len(x), max(x.shape[1:3]), ICE_DECAY)[:, : x.shape[1], : x.shape[2]]
    veins = 1 - np.abs(2 * clouds - 1)
    ice = veins[..., None] ** 2 * np.array([0.85, 0.93, 1.0])
    return (own_share * x + ice_share * ice).astype(np.float32)


def _add_snow(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Make the images paler and add flakes that are blurred in one direction."""
    mean, spread, size, threshold, radius, sigma, own_share = parameters
    height, width = x.shape[1:3]
    flakes = generator.normal(mean, spread, (len(x), height, width)).astype(np.float32)
    flakes = _zoom(np.repeat(flakes[..., None], 3, -1), max(1.0, size))
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    angles = generator.uniform(-135, -45, len(x))
    flakes = np.stack([_blur_along_line(f, radius, sigma, angle) for f, angle in zip(flakes, angles, strict=True)])
    grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    pale = own_share * x + (1 - own_share) * np.maximum(x, grey * 1.5 + 0.5)
    return (pale + flakes + flakes[:, ::-1, ::-1]).astype(np.float32)


def _change_brightness(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Raise the value of HSV; hue and saturation stay."""
    value = x.max(-1, keepdims=True)
    raised = (value + parameters[0]).clip(0, 1)
    return np.where(value > 0, x * raised / np.maximum(value, 1e-8), raised).astype(np.float32)


def _change_contrast(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    means = x.mean((1, 2), keepdims=True)
    return (x - means) * parameters[0] + means


def _distort_elastically(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    """Map affinely by three shifted points, then by a smooth field of shifts; parameters are shares of the side."""
    amplitude, sigma, affine = (p * x.shape[1] for p in parameters)
    height, width = x.shape[1:3]
    centre, third = np.array([height, width]) / 2, min(height, width) / 3
    points = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    grid = np.stack([rows, columns, np.ones_like(rows)], -1).astype(np.float64)  # (H, W, 3)
    homogeneous = np.concatenate([points, np.ones((3, 1))], 1)
    shifted = points + generator.uniform(-affine, affine, (len(x), 3, 2))
    matrices = np.linalg.solve(np.concatenate([shifted, np.ones((len(x), 3, 1))], 2), homogeneous[None])[..., :2]
    positions = np.einsum("hwk,nkd->nhwd", grid, matrices)
    field = generator.uniform(-1, 1, (len(x), height, width, 2))
    field = ndimage.gaussian_filter(field, (0, sigma, sigma, 0), mode="reflect", truncate=3) * amplitude
    positions = positions + field
    return _sample_grid(x, positions[..., 0], positions[..., 1])


def _pixelate(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    height, width = x.shape[1:3]
    small = (max(1, int(width * parameters[0])), max(1, int(height * parameters[0])))

    def shrink_and_enlarge(image: Image.Image) -> Image.Image:
        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)

    return _apply_to_pictures(x, shrink_and_enlarge)


def _compress(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    def encode_and_decode(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(parameters[0]))
        return Image.open(buffer)

    return _apply_to_pictures(x, encode_and_decode)


def _apply_to_pictures(x: Floats, change: Callable[[Image.Image], Image.Image]) -> Floats:
    pixels = np.round(x * 255).astype(np.uint8)
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels]).astype(np.float32) / 255


CORRUPTIONS: dict[str, Callable[[Floats, np.random.Generator, tuple[float, ...]], Floats]] = {
    "gaussian-noise": _add_gaussian_noise,
    "shot-noise": _add_shot_noise,
    "impulse-noise": _add_impulse_noise,
    "defocus-blur": _blur_defocused,
    "glass-blur": _blur_through_glass,
    "motion-blur": _blur_in_motion,
    "zoom-blur": _blur_by_zoom,
    "snow": _add_snow,
    "frost": _add_frost,
    "fog": _add_fog,
    "brightness": _change_brightness,
    "contrast": _change_contrast,
    "elastic": _distort_elastically,
    "pixelate": _pixelate,
    "jpeg": _compress,
}
