"""Random boxes, one an image: of a random area and aspect ratio, somewhere in the image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

TRIES = 10


@dataclass(frozen=True)
class Boxes:
    """Boxes (b,) in pixels, from row `first_row` on `height` rows and so on; a box of no rows is none."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    def select_rows(self, rows: slice | Tensor) -> "Boxes":
        """The boxes of some images."""
        return Boxes(self.top[rows], self.left[rows], self.height[rows], self.width[rows])

    def make_mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """(b, H, W), bool: which pixels lie inside."""
        edges = torch.stack([self.top, self.top + self.height, self.left, self.left + self.width])
        first_row, end_row, first_column, end_column = edges.to(device, non_blocking=True)[..., None]
        y, x = torch.arange(height, device=device), torch.arange(width, device=device)
        return ((y >= first_row) & (y < end_row))[:, :, None] & ((x >= first_column) & (x < end_column))[:, None, :]


def draw_boxes(
    height: Tensor, width: Tensor, area: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> tuple[Boxes, Tensor]:
    """Boxes in images of height and width (b,), and which of them fit (b,), bool.

    The share of the area is uniform within `area`, the aspect ratio (width over height) log-uniform within `ratio`; of
    ten such draws the first that lies within the image counts, and a place for it is drawn uniformly. Where none
    does, the box is the largest centred one whose ratio is allowed.
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
    """Boxes to erase in `count` images, in a share of them (Zhong et al. 2020, arXiv:1708.04896, Algorithm 1)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, generator=generator) < share
    sizes = torch.full((count,), height), torch.full((count,), width)
    boxes, fits = draw_boxes(*sizes, ERASED_AREA, ERASED_RATIO, generator)
    zero = boxes.height.new_zeros(())
    return Boxes(boxes.top, boxes.left, torch.where(chosen & fits, boxes.height, zero), boxes.width)


def erase_boxes(x: Tensor, boxes: Boxes) -> Tensor:
    """Normalised images (b, 3, H, W), or clips (b, T, 3, H, W), set to 0, the mean colour, in their boxes; in place."""
    mask = boxes.make_mask(x.shape[-2], x.shape[-1], x.device)
    return x.masked_fill_(mask.view(len(x), *[1] * (x.ndim - 3), *mask.shape[1:]), 0)
