"""Random boxes, one per image: of random area, aspect ratio and place; and random erasing."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.augmentation.crop_flip import send_to_device

TRIES = 10


@dataclass(frozen=True)
class Boxes:
    """Boxes (b,) in pixels: `height` rows from row `top`, `width` columns from column `left`; height 0 means no box."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def select_rows(self, rows: slice | Tensor) -> "Boxes":
        """Return the boxes of some images."""
        return Boxes(self.top[rows], self.left[rows], self.height[rows], self.width[rows])

    @property
    def edges(self) -> Tensor:
        """First row, end of the rows, first column and end of the columns, (4, b)."""
        return torch.stack([self.top, self.top + self.height, self.left, self.left + self.width])


def make_mask(edges: Tensor, height: int, width: int) -> Tensor:
    """Return which of the pixels are inside of boxes, (b, H, W), bool, where their `edges` (4, b) are."""
    first_row, end_row, first_column, end_column = edges[..., None]
    y, x = torch.arange(height, device=edges.device), torch.arange(width, device=edges.device)
    return ((y >= first_row) & (y < end_row))[:, :, None] & ((x >= first_column) & (x < end_column))[:, None, :]


def draw_boxes(
    height: Tensor, width: Tensor, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[Boxes, Tensor]:
    """Draw a box in each image and return the boxes with whether each of them fits (b,), bool.

    The first of ten draws that fits into the image is placed uniformly. If none fits, the box is the largest centred
    one with an allowed ratio.

    Args:
        height: heights of the images (b,).
        width: widths of the images (b,).
        area: limits of the share of the image's area, drawn uniformly.
        ratio: limits of width / height, drawn log-uniformly.
        generator: source of the random numbers.
    """
    b, (least, most), (narrow, wide) = len(height), area, ratio
    u = torch.rand(2, b, TRIES, generator=generator, dtype=torch.float64)
    position = torch.rand(2, b, generator=generator, dtype=torch.float64)
    pixels = (height * width)[:, None] * (least + (most - least) * u[0])  # (b, TRIES)
    aspect = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * u[1])
    w, h = (pixels * aspect).sqrt().round().long(), (pixels / aspect).sqrt().round().long()
    is_inside = (w > 0) & (h > 0) & (w <= width[:, None]) & (h <= height[:, None])
    first_inside = is_inside.to(torch.uint8).argmax(1, keepdim=True)  # the first of equals
    fits = is_inside.any(1)
    w = torch.where(fits, w.gather(1, first_inside)[:, 0], (height * wide).round().long().minimum(width))
    h = torch.where(fits, h.gather(1, first_inside)[:, 0], (width / narrow).round().long().minimum(height))
    first_row = torch.where(fits, (position[0] * (height - h + 1)).long(), (height - h) // 2)
    first_column = torch.where(fits, (position[1] * (width - w + 1)).long(), (width - w) // 2)
    return Boxes(first_row, first_column, h, w), fits


ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)  # of random erasing


def draw_erased_boxes(count: int, height: int, width: int, share: float, seed: int) -> Boxes:
    """Draw boxes to erase in a share of `count` images (Zhong et al. 2020, arXiv:1708.04896, Algorithm 1)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, generator=generator) < share
    sizes = torch.full((count,), height), torch.full((count,), width)
    boxes, fits = draw_boxes(*sizes, ERASED_AREA, ERASED_RATIO, generator)
    zero = boxes.height.new_zeros(())
    return Boxes(boxes.top, boxes.left, torch.where(chosen & fits, boxes.height, zero), boxes.width)


def erase_boxes(x: Tensor, boxes: Boxes) -> Tensor:
    """Set normalised images (b, 3, H, W), or clips (b, T, 3, H, W), to 0, the mean colour, in their boxes; in place."""
    mask = make_mask(send_to_device(boxes.edges, x.device), x.shape[-2], x.shape[-1])
    return x.masked_fill_(mask.view(len(x), *[1] * (x.ndim - 3), *mask.shape[1:]), 0)
