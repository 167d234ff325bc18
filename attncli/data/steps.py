"""The steps of an epoch: which images each sees, and the images cropped and mirrored.

A step sees one global batch, whatever the number of processes; what is drawn is drawn for all of it, and each process
takes its contiguous part. Where images are mixed it needs their partners too, wherever in the batch they are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.augment import crop_flip, draw, send
from attncli.data.crops import Crops, crop_all, draw_crops
from attncli.data.dataset import Dataset, Split
from attncli.data.mixing import Mix, draw_mix
from attncli.data.pictures import Pictures
from attncli.streams import stream


@dataclass(frozen=True)
class Step:
    """A step as one process sees it: of the global batch (rows of the split) the m images at the places `seen`.

    With `mix`, the process's own images (b,) are `own` of those m, and their partners `partners`.
    """

    number: int
    seed: int
    epoch: int
    batch: Tensor
    seen: slice | Tensor
    mix: Mix | None
    own: Tensor
    partners: Tensor

    @property
    def rows(self) -> Tensor:
        """Rows of the split (m,) that the process sees."""
        return self.batch[self.seen]

    def stream(self, name: str) -> int:
        """The seed of what is drawn under a name for this step."""
        return stream(self.seed, name, self.epoch, self.number)


def plan(batch: Tensor, dataset: Dataset, number: int, seed: int, epoch: int, rank: int, world: int) -> Step:
    """The part of the global batch (rows of the split) that process `rank` of `world` sees in step `number`."""
    own, nobody = own_part(len(batch), rank, world), torch.empty(0, dtype=torch.int64)
    if not dataset.vary.mixes:
        return Step(number, seed, epoch, batch, own, None, nobody, nobody)
    mix = draw_mix(len(batch), *dataset.size, dataset.vary, stream(seed, "mix", epoch, number)).part(own)
    places = torch.arange(own.start, own.stop)
    seen = torch.cat([places, mix.partner]).unique()
    at = [torch.searchsorted(seen, wanted) for wanted in (places, mix.partner)]
    return Step(number, seed, epoch, batch, seen, mix, *at)


def own_part(count: int, rank: int, world: int) -> slice:
    """The contiguous part of `count` things that falls to a process."""
    return slice(rank * count // world, (rank + 1) * count // world)


def view(split: Split, dataset: Dataset, steps: Iterable[Step], device: torch.device) -> Iterator[tuple[Step, Tensor]]:
    """Each step with its images (m, T, H, W, 3), uint8, cropped and mirrored, on `device`."""
    if split.pictures is not None:
        for step, x in crop_all(split.pictures, _resized(split.pictures, dataset, steps), dataset.size):
            yield step, send(x, device)
        return
    images = split.images.movedim(-3, -1)
    images = images if images.ndim == 5 else images.unsqueeze(1)
    for step in steps:
        drawn = draw(len(step.batch), dataset.pad, dataset.flip, step.stream("augment"))
        yield step, crop_flip(images, step.rows, drawn.part(step.seen), dataset.pad, device)


def _resized(pictures: Pictures, dataset: Dataset, steps: Iterable[Step]) -> Iterator[tuple[Step, Tensor, Crops]]:
    """Each step with its rows and their crops."""
    for step in steps:
        height, width = pictures.height[step.batch], pictures.width[step.batch]
        drawn = draw_crops(height, width, dataset.vary.scale, dataset.flip, step.stream("augment"))
        yield step, step.rows, drawn.part(step.seen)
