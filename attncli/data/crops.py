"""Random resized crops of whole images, made by a pool of threads while the training goes on.

After Szegedy et al. (2015, arXiv:1409.4842, Sec. 6): a box of `scale` to 1 of the area and an aspect ratio of 3/4 to
4/3 is resized to the training size, bilinear and averaged where it gets smaller, and mirrored half of the time.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from attncli.data.boxes import Boxes, draw_boxes
from attncli.data.decode import part_of
from attncli.data.files import workers
from attncli.data.pictures import Pictures

T = TypeVar("T")
RATIO = (3 / 4, 4 / 3)
AHEAD = 2  # batches made before they are asked for
SHARE = 8  # images a task


@dataclass(frozen=True)
class Crops:
    """The box and the flip (b,) of each image of a batch; on the CPU."""

    boxes: Boxes
    flip: Tensor

    def part(self, rows: slice | Tensor) -> "Crops":
        """The crops of some images."""
        return Crops(self.boxes.part(rows), self.flip[rows])


def draw_crops(height: Tensor, width: Tensor, scale: float, flip: bool, seed: int) -> Crops:
    """Boxes and flips of images of height and width (b,), from `seed` alone."""
    random = torch.Generator().manual_seed(seed)
    flips = torch.randint(2, (len(height),), generator=random).bool()
    boxes, _ = draw_boxes(height, width, (scale, 1.0), RATIO, random)
    return Crops(boxes, flips if flip else torch.zeros_like(flips))


def crop_all(
    pictures: Pictures, wanted: Iterable[tuple[T, Tensor, Crops]], size: tuple[int, int]
) -> Iterator[tuple[T, Tensor]]:
    """For each batch of row numbers (b,) and their crops the images (b, 1, H, W, 3), uint8, a few batches ahead.

    The first of each three is passed on with the images.
    """
    pool = ThreadPoolExecutor(workers(), thread_name_prefix="crop")
    waiting: deque[tuple[T, Tensor, list[Future[None]]]] = deque()
    try:
        for label, rows, crops in wanted:
            waiting.append((label, *_begin(pool, pictures, rows, crops, size)))
            if len(waiting) > AHEAD:
                yield _end(*waiting.popleft())
        while waiting:
            yield _end(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(
    pool: ThreadPoolExecutor, pictures: Pictures, rows: Tensor, crops: Crops, size: tuple[int, int]
) -> tuple[Tensor, list[Future[None]]]:
    out = torch.empty(len(rows), 1, *size, 3, dtype=torch.uint8)
    array, boxes = out.numpy(), crops.boxes
    numbers = torch.stack([rows, boxes.top, boxes.left, boxes.height, boxes.width, crops.flip.long()], 1).tolist()

    def fill(start: int) -> None:
        for at, (row, *box, flip) in enumerate(numbers[start : start + SHARE], start):
            top, left, height, width = box
            array[at, 0] = part_of(pictures.read(row), (top, left, height, width), size, bool(flip))

    return out, [pool.submit(fill, start) for start in range(0, len(rows), SHARE)]


def _end(label: T, out: Tensor, tasks: list[Future[None]]) -> tuple[T, Tensor]:
    for task in tasks:
        task.result()
    return label, out
