"""Random resized crops of whole images, made by a pool of threads during training.

After Szegedy et al. (2015, arXiv:1409.4842, Sec. 6): a box of `scale` to 1 of the area and an aspect ratio of 3/4 to
4/3 times that of the training size is resized to the training size (bilinear, with antialiasing) and mirrored with
probability 1/2.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from attncli.data.augmentation.boxes import Boxes, draw_boxes
from attncli.data.images.arrays import VariableSizeImages
from attncli.data.images.decode import crop_and_resize
from attncli.data.images.files import count_threads

T = TypeVar("T")
ASPECT_RATIOS = (3 / 4, 4 / 3)
BATCHES_AHEAD = 2  # batches prepared in advance
IMAGES_PER_TASK = 8


@dataclass(frozen=True)
class ResizedCropDraw:
    """The box and the flip (b,) of each image of a batch; on the CPU."""

    boxes: Boxes
    flip: Tensor

    def select_rows(self, rows: slice | Tensor) -> "ResizedCropDraw":
        """Return the draws of some images."""
        return ResizedCropDraw(self.boxes.select_rows(rows), self.flip[rows])


def draw_resized_crops(
    height: Tensor, width: Tensor, scale: float, flip: bool, seed: int, size: tuple[int, int] = (1, 1)
) -> ResizedCropDraw:
    """Draw boxes and flips of a batch.

    Args:
        height: heights of the images (b,).
        width: widths of the images (b,).
        scale: the least share of the area.
        flip: whether to mirror at random.
        seed: of the random numbers.
        size: (H, W) that the boxes are resized to; its aspect ratio is the middle of those of the boxes.
    """
    generator = torch.Generator().manual_seed(seed)
    flips = torch.randint(2, (len(height),), generator=generator).bool()
    narrow, wide = (ratio * size[1] / size[0] for ratio in ASPECT_RATIOS)
    boxes, _ = draw_boxes(height, width, (scale, 1.0), (narrow, wide), generator)
    return ResizedCropDraw(boxes, flips if flip else torch.zeros_like(flips))


def iterate_cropped_batches(
    whole_images: VariableSizeImages, requests: Iterable[tuple[T, Tensor, ResizedCropDraw]], size: tuple[int, int]
) -> Iterator[tuple[T, Tensor]]:
    """Yield the cropped images of each request, (b, 1, H, W, 3), uint8, prepared a few batches in advance.

    A request is (label of the caller, row numbers (b,), crops of these rows); its label is yielded with the images.
    """
    pool = ThreadPoolExecutor(count_threads(), thread_name_prefix="crop")
    pending: deque[tuple[T, Tensor, list[Future[None]]]] = deque()
    try:
        for request, rows, crops in requests:
            pending.append((request, *_start_crops(pool, whole_images, rows, crops, size)))
            if len(pending) > BATCHES_AHEAD:
                yield _finish_crops(*pending.popleft())
        while pending:
            yield _finish_crops(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _start_crops(
    pool: ThreadPoolExecutor,
    whole_images: VariableSizeImages,
    rows: Tensor,
    crops: ResizedCropDraw,
    size: tuple[int, int],
) -> tuple[Tensor, list[Future[None]]]:
    images = torch.empty(len(rows), 1, *size, 3, dtype=torch.uint8)
    image_array, boxes = images.numpy(), crops.boxes
    crop_rows = torch.stack([rows, boxes.top, boxes.left, boxes.height, boxes.width, crops.flip.long()], 1).tolist()

    def fill_images(start: int) -> None:
        for index, (row, *box, flip) in enumerate(crop_rows[start : start + IMAGES_PER_TASK], start):
            first_row, first_column, height, width = box
            image_array[index, 0] = crop_and_resize(
                whole_images.read(row), (first_row, first_column, height, width), size, bool(flip)
            )

    return images, [pool.submit(fill_images, start) for start in range(0, len(rows), IMAGES_PER_TASK)]


def _finish_crops(request: T, images: Tensor, tasks: list[Future[None]]) -> tuple[T, Tensor]:
    for task in tasks:
        task.result()
    return request, images
