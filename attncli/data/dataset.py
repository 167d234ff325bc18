"""What a dataset is: before reading (Source, Part), as pixels (Pixels), and ready for training (Dataset, Split).

Images are stored as uint8 with the three colour planes innermost, (n, H, W, 3) or (n, T, H, W, 3) for clips, and
shown as (n, 3, H, W) or (n, T, 3, H, W): memory in channels_last order, so no batch is ever rearranged for it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import torch
from torch import Tensor

from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.images.files import ImageFileList

if TYPE_CHECKING:
    from attncli.data.images.variable_size import VariableSizeImages

PLAIN_AUGMENTATION = AugmentationConfig()
RGBTriple = tuple[float, float, float]


@dataclass(frozen=True)
class ImageArray:
    """Images (n, H, W, 3) or (n, T, H, W, 3), uint8, with facts about them that cost a pass over all."""

    values: Tensor
    sha256: str
    mean: RGBTriple  # of values / 255, each plane
    std: RGBTriple


@dataclass(frozen=True)
class LazySplit:
    """Labelled images that are not read yet: `read(rows)` reads those of the given row numbers, in that order.

    Where each is a file of its own, `files` are those, in the order of the labels.
    """

    labels: Tensor
    read: Callable[[Tensor], ImageArray]
    files: ImageFileList | None = None

    def select_rows(self, rows: Tensor, labels: Tensor | None = None) -> "LazySplit":
        """The part that holds these rows alone, under new labels where given."""
        selected_files = None if self.files is None else self.files.select_rows(rows.tolist())
        selected_labels = self.labels[rows] if labels is None else labels
        return LazySplit(selected_labels, lambda wanted: self.read(rows[wanted]), selected_files)

    def read_all(self) -> ImageArray:
        """Every image."""
        return self.read(torch.arange(len(self.labels)))


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as its file in `sets/` describes it. Without `val`, one is cut from `train`."""

    classes: tuple[str, ...]
    train: LazySplit
    test: LazySplit
    origin: str  # where it is from, for people
    val: LazySplit | None = None
    flip: bool = False  # whether a mirrored image is an image of the same class
    pad: int | None = None  # of the random crop; None = an eighth of the size
    mean: RGBTriple | None = None  # published constants; None = those of the training images
    std: RGBTriple | None = None
    published_counts: tuple[int, int] | None = None  # of training and test images, as published
    checksums: Sequence[tuple[Path, str]] = ()  # files and their published MD5 or SHA-256 sums


@dataclass(frozen=True)
class Split:
    """Images (n, 3, H, W), or (n, T, 3, H, W) for clips, uint8; labels (n,), int64.

    Of `whole_images`, whole images of which a new part is shown each time, there are n, and `images` is (0, 3, H, W).
    """

    images: Tensor
    labels: Tensor
    whole_images: Optional["VariableSizeImages"] = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """The same split on a device."""
        return Split(self.images.to(device), self.labels.to(device), self.whole_images)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test images with all that training has to know about them."""

    name: str
    classes: tuple[str, ...]
    size: tuple[int, int]  # (H, W)
    frames: int | None  # T of clips
    mean: RGBTriple  # of the training images, on a scale of 0 to 1
    std: RGBTriple
    train: Split
    val: Split | None
    test: Split
    digest: str  # SHA-256 of classes, labels and images
    origin: str
    pad: int  # of the random crop, in pixels
    flip: bool
    augmentation: AugmentationConfig = PLAIN_AUGMENTATION

    def to(self, device: torch.device) -> "Dataset":
        """The dataset on an accelerator if it takes at most half of the memory that is free there, else as it is.

        Batches come from where the images are; images left in main memory travel batch by batch, as uint8.
        """
        splits = {k: s for k in ("train", "val", "test") if (s := getattr(self, k)) is not None}
        size = sum(s.images.nbytes for s in splits.values())
        if device.type != "cuda" or 2 * size > torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, **{k: s.to(device) for k, s in splits.items()})


def make_image_array(values: Tensor) -> ImageArray:
    """Images with their digest, mean and standard deviation (sums of whole numbers: exact in any order)."""
    digest = hashlib.sha256(repr(tuple(values.shape)).encode())
    row_bytes = values.shape[-2] * 3
    total, squares = torch.zeros(2, row_bytes, dtype=torch.float64)
    for chunk in values.reshape(-1, row_bytes).split(1 << 13):
        digest.update(chunk.reshape(-1).numpy())
        x = chunk.double()
        total += x.sum(0)
        squares += x.square_().sum(0)
    count = max(1, values.numel() // 3)
    mean = total.view(-1, 3).sum(0) / count
    variance = squares.view(-1, 3).sum(0) / count - mean.square()
    return ImageArray(
        values, digest.hexdigest(), _to_rgb_triple(mean / 255), _to_rgb_triple(variance.clamp_min(0).sqrt() / 255)
    )


def _to_rgb_triple(x: Tensor) -> RGBTriple:
    r, g, b = x.tolist()
    return r, g, b
