"""Common corruptions of images (Hendrycks and Dietterich 2019, arXiv 1903.12261), computed from their definitions.

Fifteen corruptions with severities 1 to 5: the parameters of CIFAR-10-C for images below 64 px, those of ImageNet-C
for larger ones. All of them were compared with the authors' files make_cifar_c.py (hendrycks/robustness@ca36008) and
make_imagenet_c.py (@e0377d4). The code is our own, so single pixels differ from the published files; frost lays drawn
ice over the image, as the paper's photographs of ice are not part of this project. Elastic shifts are shares of the
image's side, which at 224 px the authors took as 244.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from attncli.seeds import derive_seed

Pixels = NDArray[np.uint8]  # (n, H, W, 3)
Floats = NDArray[Any]  # floating point, (n, H, W, 3) from 0 to 1
BySeverity = tuple[tuple[float, ...], ...]  # parameters of each severity
LARGE_SIDE = 64  # px, from here on the parameters of ImageNet-C
SEVERITIES = (1, 2, 3, 4, 5)
ICE_DECAY = 1.265  # of the drawn ice, our own choice
CHUNK = 256  # images that one stream of random numbers serves


@dataclass(frozen=True)
class Corruption:
    """A corruption: what changes images, and its parameters for small images and for large ones."""

    apply: Callable[[Floats, np.random.Generator, tuple[float, ...]], Floats]
    small: BySeverity  # CIFAR-10-C
    large: BySeverity  # ImageNet-C


def corrupt_images(images: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    """Return the images (n, H, W, 3) with a corruption; equal arguments give equal pixels.

    Raises KeyError for an unknown name or severity.
    """
    corruption = CORRUPTIONS[name]
    by_severity = corruption.large if images.shape[1] >= LARGE_SIDE else corruption.small
    parameters = by_severity[SEVERITIES.index(severity)]
    chunks = []
    for number, start in enumerate(range(0, len(images), CHUNK)):
        generator = np.random.default_rng(derive_seed(seed, "corruption", name, severity, number))
        x = images[start : start + CHUNK].astype(np.float32) / 255
        chunks.append(np.round(corruption.apply(x, generator, parameters).clip(0, 1) * 255).astype(np.uint8))
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
    """Let pixels change places with near ones, between two blurs."""
    sigma, reach, rounds = parameters[0], int(parameters[1]), int(parameters[2])
    y = _blur(x, sigma).copy()
    height, width = x.shape[1:3]
    for _ in range(rounds):
        for row in range(height - reach - 1, reach - 1, -1):
            for column in range(width - reach - 1, reach - 1, -1):
                down, right = generator.integers(-reach, reach, size=2, endpoint=True)
                other = (row + down, column + right)
                y[:, row, column], y[:, other[0], other[1]] = y[:, other[0], other[1]].copy(), y[:, row, column].copy()
    return _blur(y, sigma)


def _make_motion_kernel(radius: float, sigma: float, angle: float) -> NDArray[np.float64]:
    """Return a line through the centre at an angle (degrees), fading with its length from one end."""
    half = int(radius)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    steps = np.linspace(0, half, 4 * half + 1)
    rows = np.round(half - np.sin(np.deg2rad(angle)) * steps).astype(int)
    columns = np.round(half + np.cos(np.deg2rad(angle)) * steps).astype(int)
    np.maximum.at(kernel, (rows, columns), np.exp(-(steps**2) / (2 * sigma**2)))
    return kernel / kernel.sum()


def _blur_in_motion(x: Floats, generator: np.random.Generator, parameters: tuple[float, ...]) -> Floats:
    angles = generator.uniform(-45, 45, len(x))
    kernels = [_make_motion_kernel(parameters[0], parameters[1], angle) for angle in angles]
    return np.stack([_convolve(image[None], kernel)[0] for image, kernel in zip(x, kernels, strict=True)])


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
    kernels = [_make_motion_kernel(radius, sigma, angle) for angle in angles]
    flakes = np.stack([_convolve(f[None], kernel)[0] for f, kernel in zip(flakes, kernels, strict=True)])
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


def _list_single(*values: float) -> BySeverity:
    """Return the parameters of a corruption that has one, by severity."""
    return tuple((value,) for value in values)


CORRUPTIONS = {
    "gaussian-noise": Corruption(_add_gaussian_noise,
        _list_single(0.04, 0.06, 0.08, 0.09, 0.10), _list_single(0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot-noise": Corruption(_add_shot_noise,
        _list_single(500, 250, 100, 75, 50), _list_single(60, 25, 12, 5, 3)),
    "impulse-noise": Corruption(_add_impulse_noise,
        _list_single(0.01, 0.02, 0.03, 0.05, 0.07), _list_single(0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus-blur": Corruption(_blur_defocused,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass-blur": Corruption(_blur_through_glass,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion-blur": Corruption(_blur_in_motion,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom-blur": Corruption(_blur_by_zoom,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))),
    "snow": Corruption(_add_snow,
        ((0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
         (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
        ((0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
         (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55))),
    "frost": Corruption(_add_frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": Corruption(_add_fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": Corruption(_change_brightness,
        _list_single(0.05, 0.1, 0.15, 0.2, 0.3), _list_single(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(_change_contrast,
        _list_single(0.75, 0.5, 0.4, 0.3, 0.15), _list_single(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic": Corruption(_distort_elastically,
        ((0, 0.001, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))),
    "pixelate": Corruption(_pixelate,
        _list_single(0.95, 0.9, 0.85, 0.75, 0.65), _list_single(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": Corruption(_compress,
        _list_single(80, 65, 58, 50, 40), _list_single(25, 18, 15, 10, 7)),
}  # fmt: skip
