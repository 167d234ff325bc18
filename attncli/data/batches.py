"""Batches for training and evaluation, stateless: what a step sees follows from (seed, epoch, step) alone.

With several processes (`world`), batch_size is that of all together: each takes its contiguous slice of the one
global batch, so the images of a step, their crops and their flips do not depend on the number of processes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from attncli.data.augment import Normalise, crop_flip, draw, gather, send
from attncli.data.dataset import Dataset, Split
from attncli.streams import stream

Batches = Iterator[tuple[Tensor, Tensor]]


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Whole batches in a split (the rest of an epoch is dropped); a split smaller than a batch is one batch."""
    return max(1, len(split) // batch_size)


def order(n: int, seed: int, epoch: int) -> Tensor:
    """The order (n,) in which an epoch goes through the training images."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(stream(seed, "order", epoch)))


def train_batches(
    split: Split,
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    device: torch.device,
    channels_last: bool,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """The batches of an epoch from `first_step` on: images cropped, flipped and normalised, and their labels (b,).

    Images are float32 (b, 3, H, W), or (b, T, 3, H, W) for clips, on `device`, b = batch_size / world.
    """
    images, normalise = _prepare(split, dataset, device, channels_last)
    shuffled = order(len(split), seed, epoch)
    for step in range(first_step, steps_per_epoch(split, batch_size)):
        batch = shuffled[step * batch_size : (step + 1) * batch_size]
        own = _slice(len(batch), rank, world)
        drawn = draw(len(batch), dataset.pad, dataset.flip, stream(seed, "augment", epoch, step)).part(own)
        x = crop_flip(images, batch[own], drawn, dataset.pad, device)
        yield normalise(x), gather(split.labels, batch[own], device)


def eval_batches(
    split: Split,
    dataset: Dataset,
    *,
    batch_size: int,
    device: torch.device,
    channels_last: bool,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """Every image of a split exactly once over all processes, in order, normalised, with its label.

    Each process has a contiguous part of the split, in batches of up to batch_size (not divided by `world`); the
    parts differ by at most one image, so the numbers of batches may differ by one.
    """
    images, normalise = _prepare(split, dataset, device, channels_last)
    own = _slice(len(split), rank, world)
    for start in range(own.start, own.stop, batch_size):
        rows = slice(start, min(start + batch_size, own.stop))
        yield normalise(send(images[rows], device)), send(split.labels[rows], device)


def _prepare(split: Split, dataset: Dataset, device: torch.device, channels_last: bool) -> tuple[Tensor, Normalise]:
    """The images as (n, T, H, W, 3) and what normalises a batch of them."""
    images = split.images.movedim(-3, -1)
    clips = images.ndim == 5
    width = images.shape[-2]
    normalise = Normalise(dataset.mean, dataset.std, width, clips=clips, channels_last=channels_last, device=device)
    return images if clips else images.unsqueeze(1), normalise


def _slice(count: int, rank: int, world: int) -> slice:
    return slice(rank * count // world, (rank + 1) * count // world)
