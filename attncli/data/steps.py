"""The steps of an epoch: which images each sees, and the images cropped and mirrored.

A step sees one global batch, whatever the number of processes; what is drawn is drawn for all of it, and each process
takes its contiguous part. Where images are mixed it needs their partners too, wherever in the batch they are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.augmentation.crop_flip import crop_and_flip, draw_crop_flip, send_to_device
from attncli.data.augmentation.mixup_cutmix import MixDraw, draw_mix
from attncli.data.augmentation.random_resized_crop import ResizedCropDraw, draw_resized_crops, iterate_cropped_batches
from attncli.data.dataset import Dataset, Split
from attncli.data.images.variable_size import VariableSizeImages
from attncli.seeds import derive_seed


@dataclass(frozen=True)
class StepPlan:
    """A step as one process sees it: of the global batch (rows of the split) the m images at the places `visible`.

    With `mix_draw`, the process's own images (b,) are `own_positions` of those m, and their partners
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
        """The seed of what is drawn under a name for this step."""
        return derive_seed(self.seed, name, self.epoch, self.number)


def plan_step(
    batch_rows: Tensor, dataset: Dataset, number: int, seed: int, epoch: int, rank: int, world: int
) -> StepPlan:
    """The part of the global batch (rows of the split) that process `rank` of `world` sees in step `number`."""
    own_slice, no_rows = slice_for_rank(len(batch_rows), rank, world), torch.empty(0, dtype=torch.int64)
    if not dataset.augmentation.has_mixing:
        return StepPlan(number, seed, epoch, batch_rows, own_slice, None, no_rows, no_rows)
    mix_draw = draw_mix(
        len(batch_rows), *dataset.size, dataset.augmentation, derive_seed(seed, "mix", epoch, number)
    ).select_rows(own_slice)
    own_indices = torch.arange(own_slice.start, own_slice.stop)
    visible = torch.cat([own_indices, mix_draw.partner]).unique()
    positions = [torch.searchsorted(visible, wanted) for wanted in (own_indices, mix_draw.partner)]
    return StepPlan(number, seed, epoch, batch_rows, visible, mix_draw, *positions)


def slice_for_rank(count: int, rank: int, world: int) -> slice:
    """The contiguous part of `count` things that falls to a process."""
    return slice(rank * count // world, (rank + 1) * count // world)


def iterate_steps(
    split: Split, dataset: Dataset, steps: Iterable[StepPlan], device: torch.device
) -> Iterator[tuple[StepPlan, Tensor]]:
    """Each step with its images (m, T, H, W, 3), uint8, cropped and mirrored, on `device`."""
    if split.whole_images is not None:
        for step, x in iterate_cropped_batches(
            split.whole_images, _draw_step_crops(split.whole_images, dataset, steps), dataset.size
        ):
            yield step, send_to_device(x, device)
        return
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    for step in steps:
        drawn = draw_crop_flip(len(step.batch_rows), dataset.pad, dataset.flip, step.derive_draw_seed("augment"))
        yield step, crop_and_flip(images, step.visible_rows, drawn.select_rows(step.visible), dataset.pad, device)


def _draw_step_crops(
    whole_images: VariableSizeImages, dataset: Dataset, steps: Iterable[StepPlan]
) -> Iterator[tuple[StepPlan, Tensor, ResizedCropDraw]]:
    """Each step with its rows and their crops."""
    for step in steps:
        height, width = whole_images.height[step.batch_rows], whole_images.width[step.batch_rows]
        drawn = draw_resized_crops(
            height, width, dataset.augmentation.scale, dataset.flip, step.derive_draw_seed("augment")
        )
        yield step, step.visible_rows, drawn.select_rows(step.visible)
