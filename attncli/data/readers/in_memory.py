"""Splits of small datasets whose images are in memory already."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.data.dataset import LazySplit
from attncli.data.images.arrays import make_image_array


def make_memory_split(images: Tensor, labels: Tensor, size: tuple[int, int] | None = None) -> LazySplit:
    """Return a split of images (n, H, W), grey, or (n, H, W, 3), uint8, resized to `size` (H, W) if given."""

    def expand_to_rgb(rows: Tensor) -> Tensor:
        selected = images[rows]
        if selected.ndim == 3:
            selected = selected[..., None].expand(-1, -1, -1, 3)
        return selected.contiguous()

    return LazySplit(labels.long(), lambda rows: make_image_array(resize_images(expand_to_rgb(rows), size)))


def resize_images(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Return images (n, h, w, 3), uint8, at `size` (H, W): bilinear, with antialiasing.

    If the aspect ratio is another, the largest centre box of the new one is resized.
    """
    if size is None or images.shape[1:3] == size:
        return images
    images = _crop_to_aspect(images, size)
    resized = images.new_empty(len(images), *size, 3)
    for start in range(0, len(images), 1024):
        x = images[start : start + 1024].permute(0, 3, 1, 2).float()
        y = F.interpolate(x, size, mode="bilinear", antialias=True)
        resized[start : start + 1024] = y.round_().clamp_(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
    return resized


def _crop_to_aspect(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the largest centre box of images (n, h, w, 3) that has the aspect ratio of `size`, to a pixel."""
    height, width = images.shape[1:3]
    box_height = max(1, min(height, round(width * size[0] / size[1])))
    box_width = max(1, min(width, round(height * size[1] / size[0])))
    first_row, first_column = (height - box_height) // 2, (width - box_width) // 2
    return images[:, first_row : first_row + box_height, first_column : first_column + box_width]
