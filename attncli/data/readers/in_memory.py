"""Splits of small datasets whose images are in memory already."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.data.dataset import LazySplit
from attncli.data.images.arrays import make_image_array


def make_memory_split(images: Tensor, labels: Tensor, size: int | None = None) -> LazySplit:
    """Return a split of images (n, H, W), grey, or (n, H, W, 3), uint8, resized to `size` pixels per side if given."""

    def expand_to_rgb(rows: Tensor) -> Tensor:
        selected = images[rows]
        if selected.ndim == 3:
            selected = selected[..., None].expand(-1, -1, -1, 3)
        return selected.contiguous()

    return LazySplit(labels.long(), lambda rows: make_image_array(resize_images(expand_to_rgb(rows), size)))


def resize_images(images: Tensor, size: int | None) -> Tensor:
    """Return square images (n, H, H, 3), uint8, at `size` pixels per side: bilinear, with antialiasing."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    resized = images.new_empty(len(images), size, size, 3)
    for start in range(0, len(images), 1024):
        x = images[start : start + 1024].permute(0, 3, 1, 2).float()
        y = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        resized[start : start + 1024] = y.round_().clamp_(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
    return resized
