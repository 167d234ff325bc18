"""Batches for training and evaluation, stateless: what a step sees follows from (seed, epoch, step) alone.

With several processes (`world`), batch_size is that of all together: each takes its contiguous slice of the one
global batch, so the images of a step, their crops and their flips do not depend on the number of processes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from attncli.data.augmentation.auto_augment import apply_operations, draw_operations
from attncli.data.augmentation.boxes import draw_erased_boxes, erase_boxes
from attncli.data.augmentation.crop_flip import Normaliser, gather_rows, send_to_device
from attncli.data.augmentation.mixup_cutmix import mix_images
from attncli.data.dataset import Dataset, Split
from attncli.data.steps import StepPlan, iterate_steps, plan_step, slice_for_rank
from attncli.seeds import derive_seed

Batches = Iterator[tuple[Tensor, Tensor]]


def count_epoch_steps(split: Split, batch_size: int) -> int:
    """Whole batches in a split (the rest of an epoch is dropped); a split smaller than a batch is one batch."""
    return max(1, len(split) // batch_size)


def shuffle_rows(count: int, seed: int, epoch: int) -> Tensor:
    """The order (n,) in which an epoch goes through the training images."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(seed, "order", epoch)))


def iterate_train_batches(
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
    shuffled, normalise = shuffle_rows(len(split), seed, epoch), _make_normaliser(dataset, device, channels_last)
    step_count = count_epoch_steps(split, batch_size)
    steps = (
        plan_step(shuffled[number * batch_size : (number + 1) * batch_size], dataset, number, seed, epoch, rank, world)
        for number in range(first_step, step_count)
    )
    for step, x in iterate_steps(split, dataset, steps, device):
        y = _apply_erasing(normalise(_apply_policy(x, step, dataset)), step, dataset)
        labels = gather_rows(split.labels, step.visible_rows, device)
        if step.mix is None:
            yield y, labels
        else:
            mixed = mix_images(y, labels, step.mix, step.own_positions, step.partner_positions, len(dataset.classes))
            yield _arrange_memory(mixed[0], channels_last), mixed[1]


def _apply_policy(x: Tensor, step: StepPlan, dataset: Dataset) -> Tensor:
    """The images (b, T, H, W, 3) of a step after the operations of a policy."""
    layers = draw_operations(len(step.batch_rows), *dataset.size, dataset.augmentation, step.derive_draw_seed("policy"))
    return apply_operations(x, [layer.select_rows(step.visible) for layer in layers])


def _apply_erasing(x: Tensor, step: StepPlan, dataset: Dataset) -> Tensor:
    """The normalised images of a step, some with a part erased."""
    share = dataset.augmentation.erase
    if not share:
        return x
    boxes = draw_erased_boxes(len(step.batch_rows), *dataset.size, share, step.derive_draw_seed("erase"))
    return erase_boxes(x, boxes.select_rows(step.visible))


def _arrange_memory(x: Tensor, channels_last: bool) -> Tensor:
    """x with the colour planes innermost if channels_last, else contiguous; frames count as images."""
    if not channels_last:
        return x.contiguous()
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def iterate_eval_batches(
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
    normalise = _make_normaliser(dataset, device, channels_last)
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    own_rows = slice_for_rank(len(split), rank, world)
    for start in range(own_rows.start, own_rows.stop, batch_size):
        rows = slice(start, min(start + batch_size, own_rows.stop))
        yield normalise(send_to_device(images[rows], device)), send_to_device(split.labels[rows], device)


def _make_normaliser(dataset: Dataset, device: torch.device, channels_last: bool) -> Normaliser:
    """What normalises a batch (b, T, H, W, 3)."""
    clips = dataset.frames is not None
    return Normaliser(
        dataset.mean, dataset.std, dataset.size[1], clips=clips, channels_last=channels_last, device=device
    )
