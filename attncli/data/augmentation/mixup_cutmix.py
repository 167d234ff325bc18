"""Mixup and CutMix: images and labels are mixed in pairs, each pair by its own share.

    mixup   x = q x_i + (1 - q) x_j                                    (Zhang et al. 2018, arXiv:1710.09412)
    CutMix  x = x_i with a box of x_j, q = the share outside the box   (Yun et al. 2019, arXiv:1905.04899)

with q ~ Beta(alpha, alpha) and label shares q y_i + (1 - q) y_j. The partner j is drawn from the same batch. Unlike in
both papers' code, q and the box are drawn for each image and not once for the batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.data.augmentation.boxes import Boxes, make_mask
from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.augmentation.crop_flip import send_to_device


@dataclass(frozen=True)
class MixDraw:
    """What is drawn for each image of a batch: its partner (b,), its share q (b,), its box (no box means mixup)."""

    partner: Tensor
    share: Tensor
    boxes: Boxes

    def select_rows(self, rows: slice | Tensor) -> "MixDraw":
        """Return the draws of some images."""
        return MixDraw(self.partner[rows], self.share[rows], self.boxes.select_rows(rows))


def draw_mix(count: int, height: int, width: int, augmentation: AugmentationConfig, seed: int) -> MixDraw:
    """Draw partners, shares and boxes of a batch of `count` images of (height, width) pixels from `seed`."""
    generator = np.random.default_rng(seed)
    partner = torch.from_numpy(generator.permutation(count))
    mixup_share, cutmix_share = (
        _draw_beta(generator, alpha, count) for alpha in (augmentation.mixup, augmentation.cutmix)
    )
    y, x, coin = torch.from_numpy(generator.random((3, count)))
    is_cutmix = coin < (0.5 if augmentation.mixup and augmentation.cutmix else float(augmentation.cutmix > 0))
    boxes = _place_boxes(cutmix_share, y, x, is_cutmix, height, width)
    share = torch.where(is_cutmix, 1 - boxes.height * boxes.width / (height * width), mixup_share)
    return MixDraw(partner, share, boxes)


def mix_images(
    images: Tensor, labels: Tensor, drawn: MixDraw, rows: Tensor, partners: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Return mixed images (b, ..., H, W) and their shares of the classes (b, classes).

    Args:
        images: (n, ..., H, W).
        labels: (n,), int64.
        drawn: shares and boxes of the b images.
        rows: which of `images` are mixed (b,), on the CPU.
        partners: which of `images` they are mixed with (b,), on the CPU.
        classes: number of classes.
    """
    device, dims = images.device, [1] * (images.ndim - 1)
    index = send_to_device(torch.stack([rows, partners, (drawn.boxes.height > 0).long(), *drawn.boxes.edges]), device)
    rows, partners, is_cutmix = index[0], index[1], index[2].bool().view(-1, *dims)
    x, other = images[rows], images[partners]
    q = send_to_device(drawn.share.float(), device)
    mask = make_mask(index[3:], x.shape[-2], x.shape[-1])  # (b, H, W)
    mask = mask.view(len(x), *[1] * (x.ndim - 3), *mask.shape[1:])
    mixed = torch.where(is_cutmix, torch.where(mask, other, x), torch.lerp(other, x, q.view(-1, *dims)))
    target = F.one_hot(labels, classes).float()
    return mixed, torch.lerp(target[partners], target[rows], q[:, None])


def _draw_beta(generator: np.random.Generator, alpha: float, count: int) -> Tensor:
    """Draw (count,) from Beta(alpha, alpha); ones for alpha = 0."""
    return torch.from_numpy(generator.beta(alpha, alpha, count)) if alpha else torch.ones(count, dtype=torch.float64)


def _place_boxes(share: Tensor, y: Tensor, x: Tensor, is_cutmix: Tensor, height: int, width: int) -> Boxes:
    """Return boxes with the image's shape and 1 - share of its area around the point (y, x), cut at the edges."""
    side = (1 - share).sqrt()
    sides = []
    for u, length in ((y, height), (x, width)):
        half = side * length / 2
        low, high = (u * length - half).round().long(), (u * length + half).round().long()
        sides.append((low.clamp_min(0), high.clamp_max(length) - low.clamp_min(0)))
    (first_row, h), (first_column, w) = sides
    empty = ~is_cutmix | (h <= 0) | (w <= 0)
    zero = h.new_zeros(())
    return Boxes(first_row, first_column, torch.where(empty, zero, h), torch.where(empty, zero, w))
