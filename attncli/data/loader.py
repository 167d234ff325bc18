"""Batches for training and evaluation. What a step sees depends on (seed, epoch, step) alone: the loader has no state.

A step sees one global batch, whatever the number of processes. Crops, flips and mixtures are drawn for the whole batch,
and each process takes its contiguous part, so the images of a step do not depend on the number of processes. If images
are mixed, a process also reads the partners of its images, wherever in the batch they are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.augmentation.auto_augment import apply_operations, draw_operations
from attncli.data.augmentation.boxes import draw_erased_boxes, erase_boxes
from attncli.data.augmentation.crop_flip import (
    CropFlipDraw,
    Normaliser,
    crop_and_flip,
    crop_gathered,
    draw_crop_flip,
    gather_rows,
    send_to_device,
)
from attncli.data.augmentation.mixup_cutmix import MixDraw, draw_mix, mix_images
from attncli.data.augmentation.random_resized_crop import ResizedCropDraw, draw_resized_crops, iterate_cropped_batches
from attncli.data.dataset import Dataset, Split
from attncli.data.images.arrays import VariableSizeImages
from attncli.data.prefetch import SideStreamSender, iterate_sent_batches
from attncli.seeds import derive_seed

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class BatchLayout:
    """How many images a batch has, where it is, its memory format, and which process of how many this is.

    For training, `batch_size` is that of all processes together; for evaluation, that of one process.
    """

    batch_size: int
    device: torch.device
    channels_last: bool
    rank: int = 0
    world: int = 1

    def slice_rows(self, count: int) -> slice:
        """Return the contiguous part of `count` rows that belongs to this process."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)


@dataclass(frozen=True)
class StepPlan:
    """One step as one process sees it: `batch_rows` are the split's rows in the global batch, `visible` its part.

    With `mix`, its own images (b,) are at `own_positions` among the visible ones, their partners at
    `partner_positions`.
    """

    number: int
    seed: int
    epoch: int
    batch_rows: Tensor
    visible: slice | Tensor
    mix: MixDraw | None
    own_positions: Tensor
    partner_positions: Tensor

    @property
    def visible_rows(self) -> Tensor:
        """Rows of the split (m,) that the process sees."""
        return self.batch_rows[self.visible]

    def derive_draw_seed(self, name: str) -> int:
        """Return the seed of what is drawn under a name for this step."""
        return derive_seed(self.seed, name, self.epoch, self.number)


def count_epoch_steps(split: Split, batch_size: int) -> int:
    """Return the number of full batches in a split; a split smaller than one batch is one batch.

    The rest of an epoch, too small for a batch, is dropped.
    """
    return max(1, len(split) // batch_size)


def count_left_over(split: Split, batch_size: int) -> int:
    """Return the number of images of a split that an epoch drops because they do not fill a batch."""
    return max(0, len(split) - count_epoch_steps(split, batch_size) * batch_size)


def shuffle_rows(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order (n,) in which an epoch goes through the training images."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed(seed, "order", epoch)))


def draw_balanced_rows(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Return the rows (n,) of an epoch of as many images as labels (n,), in equal numbers from every class.

    The numbers differ by one at most. Each class is gone through in a new order, again and again if it is small; of a
    class that is large an epoch shows a part, drawn anew each time.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "balanced", epoch))
    classes = labels.unique()
    shares = torch.full((len(classes),), len(labels) // len(classes))
    shares[torch.randperm(len(classes), generator=generator)[: len(labels) % len(classes)]] += 1
    chosen = []
    for label, share in zip(classes.tolist(), shares.tolist(), strict=True):
        rows = (labels == label).nonzero()[:, 0]
        passes = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(-(-share // len(rows)))]
        chosen.append(torch.cat(passes)[:share])
    return torch.cat(chosen)[torch.randperm(len(labels), generator=generator)]


def iterate_train_batches(
    split: Split,
    dataset: Dataset,
    layout: BatchLayout,
    *,
    seed: int,
    epoch: int,
    first_step: int = 0,
    balanced: bool = False,
) -> Batches:
    """Yield the batches of an epoch: images cropped, flipped, varied and normalised, with their labels.

    Args:
        split: the training images.
        dataset: how they are varied and normalised.
        layout: batch size, device and process.
        seed: the run's seed.
        epoch: number of the epoch, from 0.
        first_step: the step to begin with, for a run that resumes.
        balanced: whether every class has the same number of images in an epoch, see `draw_balanced_rows`.

    Yields:
        Images, float32 (b, 3, H, W), or (b, T, 3, H, W) for clips, b = batch_size / world; and labels (b,), int64, or
        shares of the classes (b, classes) if images are mixed.
    """
    size, device = layout.batch_size, layout.device
    rows = draw_balanced_rows(split.labels.cpu(), seed, epoch) if balanced else shuffle_rows(len(split), seed, epoch)
    normalise = _make_normaliser(dataset, layout)
    steps = (
        plan_step(rows[number * size : (number + 1) * size], dataset, layout, number, seed, epoch)
        for number in range(first_step, count_epoch_steps(split, size))
    )
    for step, x in _iterate_steps(split, dataset, steps, choose_augmenting_device(split, device)):
        varied = send_to_device(_apply_policy(x, step, dataset), device)
        y = _apply_erasing(normalise(varied), step, dataset)
        labels = gather_rows(split.labels, step.visible_rows, device)
        if step.mix is None:
            yield y, labels
        else:
            mixed = mix_images(y, labels, step.mix, step.own_positions, step.partner_positions, len(dataset.classes))
            yield _arrange_memory(mixed[0], layout.channels_last), mixed[1]


def iterate_eval_batches(split: Split, dataset: Dataset, layout: BatchLayout) -> Batches:
    """Yield every image of a split exactly once over all processes, in order, normalised, with its label.

    The parts of the processes differ by at most one image, so their numbers of batches may differ by one.
    """
    normalise = _make_normaliser(dataset, layout)
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    own_rows = layout.slice_rows(len(split))
    parts = (
        torch.arange(start, min(start + layout.batch_size, own_rows.stop))
        for start in range(own_rows.start, own_rows.stop, layout.batch_size)
    )
    for rows, x in _iterate_eval_images(images, parts, layout.device):
        yield normalise(x), send_to_device(split.labels[int(rows[0]) : int(rows[-1]) + 1], layout.device)


def _iterate_eval_images(
    images: Tensor, parts: Iterator[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield consecutive row numbers (b,) with the images (b, T, H, W, 3) of these rows on `device`."""
    if _is_sent_ahead(images, device):
        yield from iterate_sent_batches(images, ((rows, rows) for rows in parts), SideStreamSender(device))
        return
    for rows in parts:
        yield rows, send_to_device(images[int(rows[0]) : int(rows[-1]) + 1], device)


def _is_sent_ahead(images: Tensor, device: torch.device) -> bool:
    """Return whether batches are sent ahead: from main memory to a CUDA GPU."""
    return images.device.type == "cpu" and device.type == "cuda"


def choose_augmenting_device(split: Split, device: torch.device) -> torch.device:
    """Return where the bytes of a split are cropped, flipped and varied for training on `device`.

    That is a CUDA GPU, or where the images are: not all of these operations are there, and right, on Apple's GPUs.
    """
    return device if device.type == "cuda" else split.images.device


def plan_step(
    batch_rows: Tensor, dataset: Dataset, layout: BatchLayout, number: int, seed: int, epoch: int
) -> StepPlan:
    """Return what the process of `layout` sees in one step.

    Args:
        batch_rows: rows of the split in the global batch (b,).
        dataset: sizes and augmentation.
        layout: the process.
        number: number of the step, from 0.
        seed: the run's seed.
        epoch: number of the epoch, from 0.
    """
    own_slice, no_rows = layout.slice_rows(len(batch_rows)), torch.empty(0, dtype=torch.int64)
    if not dataset.augmentation.has_mixing:
        return StepPlan(number, seed, epoch, batch_rows, own_slice, None, no_rows, no_rows)
    mix_draw = draw_mix(
        len(batch_rows), *dataset.size, dataset.augmentation, derive_seed(seed, "mix", epoch, number)
    ).select_rows(own_slice)
    own_indices = torch.arange(own_slice.start, own_slice.stop)
    visible = torch.cat([own_indices, mix_draw.partner]).unique()
    positions = [torch.searchsorted(visible, wanted) for wanted in (own_indices, mix_draw.partner)]
    return StepPlan(number, seed, epoch, batch_rows, visible, mix_draw, *positions)


def _iterate_steps(
    split: Split, dataset: Dataset, steps: Iterable[StepPlan], device: torch.device
) -> Iterator[tuple[StepPlan, Tensor]]:
    """Yield each step with its images (m, T, H, W, 3), uint8, cropped and flipped, on `device`."""
    if split.whole_images is not None:
        for step, x in iterate_cropped_batches(
            split.whole_images, _draw_step_crops(split.whole_images, dataset, steps), dataset.size
        ):
            yield step, send_to_device(x, device)
        return
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    drawn_steps = ((step, _draw_step_crop_flip(dataset, step)) for step in steps)
    if _is_sent_ahead(images, device):
        requests = (((step, drawn), step.visible_rows[drawn.order]) for step, drawn in drawn_steps)
        for (step, drawn), x in iterate_sent_batches(images, requests, SideStreamSender(device)):
            yield step, crop_gathered(x, drawn, dataset.pad)
        return
    for step, drawn in drawn_steps:
        yield step, crop_and_flip(images, step.visible_rows, drawn, dataset.pad, device)


def _draw_step_crop_flip(dataset: Dataset, step: StepPlan) -> CropFlipDraw:
    """Return the offsets and flips of the images that a process sees in a step."""
    drawn = draw_crop_flip(len(step.batch_rows), dataset.pad, dataset.flip, step.derive_draw_seed("augment"))
    return drawn.select_rows(step.visible)


def _draw_step_crops(
    whole_images: VariableSizeImages, dataset: Dataset, steps: Iterable[StepPlan]
) -> Iterator[tuple[StepPlan, Tensor, ResizedCropDraw]]:
    """Yield each step with its rows and their crops."""
    for step in steps:
        height, width = whole_images.height[step.batch_rows], whole_images.width[step.batch_rows]
        drawn = draw_resized_crops(
            height, width, dataset.augmentation.scale, dataset.flip, step.derive_draw_seed("augment"), dataset.size
        )
        yield step, step.visible_rows, drawn.select_rows(step.visible)


def _apply_policy(x: Tensor, step: StepPlan, dataset: Dataset) -> Tensor:
    """Return the images (b, T, H, W, 3) of a step after the operations of RandAugment or TrivialAugment."""
    layers = draw_operations(len(step.batch_rows), *dataset.size, dataset.augmentation, step.derive_draw_seed("policy"))
    return apply_operations(x, [layer.select_rows(step.visible) for layer in layers])


def _apply_erasing(x: Tensor, step: StepPlan, dataset: Dataset) -> Tensor:
    """Return the normalised images of a step, a share of them with an erased part."""
    share = dataset.augmentation.erase
    if not share:
        return x
    boxes = draw_erased_boxes(len(step.batch_rows), *dataset.size, share, step.derive_draw_seed("erase"))
    return erase_boxes(x, boxes.select_rows(step.visible))


def _arrange_memory(x: Tensor, channels_last: bool) -> Tensor:
    """Return x with the colour planes innermost if channels_last, else contiguous; frames count as images."""
    if not channels_last:
        return x.contiguous()
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def _make_normaliser(dataset: Dataset, layout: BatchLayout) -> Normaliser:
    return Normaliser(
        dataset.mean,
        dataset.std,
        dataset.size[1],
        clips=dataset.frames is not None,
        channels_last=layout.channels_last,
        device=layout.device,
    )
