"""A dataset in three stages: not read yet (DatasetSource, LazySplit), and ready for training (Dataset, Split).

Images are stored as uint8 with the three colour planes innermost, (n, H, W, 3), or (n, T, H, W, 3) for clips. They are
shown as (n, 3, H, W) or (n, T, 3, H, W): memory in channels_last order, so no batch has to be rearranged for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.images.arrays import ImageArray, RGBTriple, VariableSizeImages
from attncli.data.images.files import ImageFileList

PLAIN_AUGMENTATION = AugmentationConfig()


@dataclass(frozen=True)
class LazySplit:
    """Labelled images that are not read yet: `read(rows)` returns those with the given row numbers, in that order.

    If each image has a file, `files` lists them in the order of the labels.
    """

    labels: Tensor
    read: Callable[[Tensor], ImageArray]
    files: ImageFileList | None = None
    groups: Sequence[str] | None = None  # of each image: images of one group stay in one split

    def select_rows(self, rows: Tensor, labels: Tensor | None = None) -> "LazySplit":
        """Return the split with these rows only, under new labels if given."""
        selected_files = None if self.files is None else self.files.select_rows(rows.tolist())
        selected_labels = self.labels[rows] if labels is None else labels
        groups = None if self.groups is None else [self.groups[row] for row in rows.tolist()]
        return LazySplit(selected_labels, lambda wanted: self.read(rows[wanted]), selected_files, groups)

    def read_all(self) -> ImageArray:
        """Return every image."""
        return self.read(torch.arange(len(self.labels)))


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as its file in `datasets/` describes it. Without `val`, a validation split is cut from `train`."""

    classes: tuple[str, ...]
    train: LazySplit
    test: LazySplit
    origin: str  # where it comes from, for people
    val: LazySplit | None = None
    has_own_test: bool = True  # whether `test` is a split of the dataset, not cut from its training images
    flip: bool = False  # whether a mirrored image belongs to the same class
    pad: int | None = None  # of the random crop; None = one eighth of the size
    mean: RGBTriple | None = None  # published constants; None = those of the training images
    std: RGBTriple | None = None
    published_counts: tuple[int, int] | None = None  # of training and test images
    checksums: Sequence[tuple[Path, str]] = ()  # files and their published MD5 or SHA-256 sums
    notes: tuple[str, ...] = ()  # what the user should know about how the files were read


@dataclass(frozen=True)
class Split:
    """Images (n, 3, H, W), or (n, T, 3, H, W) for clips, uint8; labels (n,), int64.

    With `whole_images`, a new part of each image is shown in every epoch: there are n of them, and `images` is empty,
    (0, 3, H, W).
    """

    images: Tensor
    labels: Tensor
    whole_images: VariableSizeImages | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the same split on a device."""
        return Split(self.images.to(device), self.labels.to(device), self.whole_images)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test images with everything that training needs to know about them."""

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
    grey_range: tuple[float, float] | None = None  # values that are black and white, if there are 16-bit images
    notes: tuple[str, ...] = ()  # how the files were read and the images are shown, for the user
    warnings: tuple[str, ...] = ()  # what may be wrong with them

    def to(self, device: torch.device) -> "Dataset":
        """Return the dataset on a GPU if it takes at most half of the free memory there, else unchanged.

        Batches are made where the images are; images in main memory are sent batch by batch, as uint8.
        """
        splits = {k: s for k in ("train", "val", "test") if (s := getattr(self, k)) is not None}
        size = sum(s.images.nbytes for s in splits.values())
        if device.type != "cuda" or 2 * size > count_free_bytes(device):
            return self
        return replace(self, **{k: s.to(device) for k, s in splits.items()})


def count_free_bytes(device: torch.device) -> int:
    """Return the free memory of a CUDA device, with what torch holds there for later without using it."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + unused)
