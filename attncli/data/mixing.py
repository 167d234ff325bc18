"""Mixup and CutMix: images and labels mixed two by two, each pair by a share of its own.

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

from attncli.data.boxes import Boxes
from attncli.data.vary import Vary


@dataclass(frozen=True)
class Mix:
    """What is drawn for each image of a batch: its partner (b,), its share q (b,), the box (of no rows: mixup)."""

    partner: Tensor
    share: Tensor
    boxes: Boxes

    def part(self, rows: slice | Tensor) -> "Mix":
        """The draws of some images."""
        return Mix(self.partner[rows], self.share[rows], self.boxes.part(rows))


def draw_mix(count: int, height: int, width: int, vary: Vary, seed: int) -> Mix:
    """Partners, shares and boxes of a batch of `count` images, from `seed` alone."""
    random = np.random.default_rng(seed)
    partner = torch.from_numpy(random.permutation(count))
    smooth, cut = (_beta(random, alpha, count) for alpha in (vary.mixup, vary.cutmix))
    y, x, coin = torch.from_numpy(random.random((3, count)))
    boxed = coin < (0.5 if vary.mixup and vary.cutmix else float(vary.cutmix > 0))
    boxes = _boxes(cut, y, x, boxed, height, width)
    share = torch.where(boxed, 1 - boxes.height * boxes.width / (height * width), smooth)
    return Mix(partner, share, boxes)


def mix(
    images: Tensor, labels: Tensor, drawn: Mix, rows: Tensor, partners: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Images `rows` of `images` (n, ..., H, W) mixed with images `partners`, and the shares of the classes.

    rows and partners (b,) are places in `images` and in `labels` (n,), on the CPU; the shares are (b, classes).
    """
    device, dims = images.device, [1] * (images.ndim - 1)
    rows, partners = (r.to(device, non_blocking=True) for r in (rows, partners))
    x, other = images[rows], images[partners]
    q = drawn.share.float().to(device, non_blocking=True)
    mask = drawn.boxes.mask(x.shape[-2], x.shape[-1], device)  # (b, H, W)
    boxed = (drawn.boxes.height > 0).to(device, non_blocking=True).view(-1, *dims)
    mask = mask.view(len(x), *[1] * (x.ndim - 3), *mask.shape[1:])
    mixed = torch.where(boxed, torch.where(mask, other, x), torch.lerp(other, x, q.view(-1, *dims)))
    target = F.one_hot(labels, classes).float()
    return mixed, torch.lerp(target[partners], target[rows], q[:, None])


def _beta(random: np.random.Generator, alpha: float, count: int) -> Tensor:
    """(count,) of Beta(alpha, alpha); ones for alpha = 0."""
    return torch.from_numpy(random.beta(alpha, alpha, count)) if alpha else torch.ones(count, dtype=torch.float64)


def _boxes(share: Tensor, y: Tensor, x: Tensor, boxed: Tensor, height: int, width: int) -> Boxes:
    """Boxes of the image's shape and of 1 - share of its area around a point of it, cut at its edges."""
    side = (1 - share).sqrt()
    sides = []
    for u, length in ((y, height), (x, width)):
        half = side * length / 2
        low, high = (u * length - half).round().long(), (u * length + half).round().long()
        sides.append((low.clamp_min(0), high.clamp_max(length) - low.clamp_min(0)))
    (top, h), (left, w) = sides
    empty = ~boxed | (h <= 0) | (w <= 0)
    zero = h.new_zeros(())
    return Boxes(top, left, torch.where(empty, zero, h), torch.where(empty, zero, w))
