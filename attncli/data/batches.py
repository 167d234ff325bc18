"""Batches for training and evaluation, stateless: what a step sees follows from (seed, epoch, step) alone.

With several processes (`world`), batch_size is that of all together: each takes its contiguous slice of the one
global batch, so the images of a step, their crops and their flips do not depend on the number of processes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from attncli.data.augment import Normalise, gather, send
from attncli.data.boxes import draw_erased, erase
from attncli.data.dataset import Dataset, Split
from attncli.data.mixing import mix
from attncli.data.policy import apply, draw_policy
from attncli.data.steps import Step, own_part, plan, view
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
    shuffled, normalise = order(len(split), seed, epoch), _normalise(dataset, device, channels_last)
    last = steps_per_epoch(split, batch_size)
    steps = (
        plan(shuffled[s * batch_size : (s + 1) * batch_size], dataset, s, seed, epoch, rank, world)
        for s in range(first_step, last)
    )
    for step, x in view(split, dataset, steps, device):
        y = _erased(normalise(_changed(x, step, dataset)), step, dataset)
        labels = gather(split.labels, step.rows, device)
        if step.mix is None:
            yield y, labels
        else:
            mixed = mix(y, labels, step.mix, step.own, step.partners, len(dataset.classes))
            yield _laid_out(mixed[0], channels_last), mixed[1]


def _changed(x: Tensor, step: Step, dataset: Dataset) -> Tensor:
    """The images (b, T, H, W, 3) of a step after the operations of a policy."""
    layers = draw_policy(len(step.batch), *dataset.size, dataset.vary, step.stream("policy"))
    return apply(x, [layer.part(step.seen) for layer in layers])


def _erased(x: Tensor, step: Step, dataset: Dataset) -> Tensor:
    """The normalised images of a step, some with a part erased."""
    share = dataset.vary.erase
    if not share:
        return x
    boxes = draw_erased(len(step.batch), *dataset.size, share, step.stream("erase"))
    return erase(x, boxes.part(step.seen))


def _laid_out(x: Tensor, channels_last: bool) -> Tensor:
    """x with the colour planes innermost if channels_last, else contiguous; frames count as images."""
    if not channels_last:
        return x.contiguous()
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


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
    normalise = _normalise(dataset, device, channels_last)
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    own = own_part(len(split), rank, world)
    for start in range(own.start, own.stop, batch_size):
        rows = slice(start, min(start + batch_size, own.stop))
        yield normalise(send(images[rows], device)), send(split.labels[rows], device)


def _normalise(dataset: Dataset, device: torch.device, channels_last: bool) -> Normalise:
    """What normalises a batch (b, T, H, W, 3)."""
    clips = dataset.frames is not None
    return Normalise(
        dataset.mean, dataset.std, dataset.size[1], clips=clips, channels_last=channels_last, device=device
    )
