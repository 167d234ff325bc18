"""Images in memory: arrays of one size with their statistics, and images that each have their own size."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attncli.data.images.image_facts import ImageFacts

ImagePixels = NDArray[np.uint8]  # (H, W, 3)
RGBTriple = tuple[float, float, float]

IMAGENET_MEAN: RGBTriple = (0.485, 0.456, 0.406)
IMAGENET_STD: RGBTriple = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageArray:
    """Images (n, H, W, 3) or clips (n, T, H, W, 3), uint8, with statistics that cost one pass over all of them."""

    values: Tensor
    sha256: str
    mean: RGBTriple  # of values / 255, one number per colour plane
    std: RGBTriple
    facts: ImageFacts | None = None  # if each image has a file of the user's own


@dataclass(frozen=True)
class VariableSizeImages:
    """Images of their own sizes: heights and widths (n,), int64, and `read(i)` -> (h, w, 3), uint8."""

    height: Tensor
    width: Tensor
    read: Callable[[int], ImagePixels]
    sha256: str
    facts: ImageFacts | None = None

    def __len__(self) -> int:
        return len(self.height)


def make_image_array(values: Tensor) -> ImageArray:
    """Return images with their digest, mean and standard deviation; sums are of whole numbers, so exact."""
    digest = hashlib.sha256(repr(tuple(values.shape)).encode())
    row_bytes = values.shape[-2] * 3
    total, squares = torch.zeros(2, row_bytes, dtype=torch.float64)
    for chunk in values.reshape(-1, row_bytes).split(1 << 13):
        digest.update(chunk.reshape(-1).numpy())
        x = chunk.double()
        total += x.sum(0)
        squares += x.square_().sum(0)
    count = max(1, values.numel() // 3)
    mean = total.view(-1, 3).sum(0) / count
    variance = squares.view(-1, 3).sum(0) / count - mean.square()
    return ImageArray(
        values, digest.hexdigest(), _to_rgb_triple(mean / 255), _to_rgb_triple(variance.clamp_min(0).sqrt() / 255)
    )


def wrap_tensor(values: Tensor, sha256: str) -> VariableSizeImages:
    """Return images (n, H, W, 3) in memory as images of their own sizes."""
    n, height, width, _ = values.shape
    array = values.numpy()
    return VariableSizeImages(torch.full((n,), height), torch.full((n,), width), array.__getitem__, sha256)


def _to_rgb_triple(x: Tensor) -> RGBTriple:
    r, g, b = x.tolist()
    return r, g, b
