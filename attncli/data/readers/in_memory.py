"""Splits of small datasets whose images are in memory already."""

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.data.dataset import LazySplit
from attncli.data.images.arrays import make_image_array
from attncli.errors import UserError
from attncli.system.memory_limit import read_free_memory

CHUNK_VALUES = 1 << 24  # numbers that are resized at once: 64 MB in float32


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
    check_image_memory(len(images), size)
    images = _crop_to_aspect(images, size)
    resized = images.new_empty(len(images), *size, 3)
    chunk_size = max(1, CHUNK_VALUES // max(images[0].numel(), resized[0].numel()))
    for start in range(0, len(images), chunk_size):
        x = images[start : start + chunk_size].permute(0, 3, 1, 2).float()
        y = F.interpolate(x, size, mode="bilinear", antialias=True)
        resized[start : start + chunk_size] = y.round_().clamp_(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
    return resized


def check_image_memory(count: int, size: tuple[int, int], frames: int = 1) -> None:
    """Raise UserError if so many images, or clips of `frames`, of a size (H, W) do not fit into the free memory."""
    needed, free = count * frames * size[0] * size[1] * 3, read_free_memory()
    if needed > free:
        what = f"clips of {frames} frames" if frames > 1 else "images"
        raise UserError(
            f"data.image_size: {count:,} {what} of {size[1]} x {size[0]} px take {needed / 1e9:,.1f} GB of memory, "
            f"{free / 1e9:,.1f} GB are free",
            "smaller or fewer images: --image-size, data.per_class",
        )


def _crop_to_aspect(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the largest centre box of images (n, h, w, 3) that has the aspect ratio of `size`, to a pixel."""
    height, width = images.shape[1:3]
    box_height = max(1, min(height, round(width * size[0] / size[1])))
    box_width = max(1, min(width, round(height * size[1] / size[0])))
    first_row, first_column = (height - box_height) // 2, (width - box_width) // 2
    return images[:, first_row : first_row + box_height, first_column : first_column + box_width]
