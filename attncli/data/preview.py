"""What the network sees: some training images as they come out of a batch, with their labels in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attncli.data.dataset import Dataset
from attncli.data.loader import iterate_train_batches


@dataclass(frozen=True)
class PreviewImage:
    """An image (H, W, 3), uint8, as a network sees it, and what it is told about it."""

    image: NDArray[np.uint8]
    label: str


def draw_preview(dataset: Dataset, count: int, *, seed: int, epoch: int) -> list[PreviewImage]:
    """The first `count` images of an epoch (of clips the frame in the middle), as training with `seed` sees them."""
    batches = iterate_train_batches(
        dataset.train, dataset, batch_size=min(count, len(dataset.train)), seed=seed, epoch=epoch,
        device=torch.device("cpu"), channels_last=False,
    )  # fmt: skip
    images, labels = next(batches)
    if dataset.frames is not None:
        images = images[:, dataset.frames // 2]
    mean, std = (torch.tensor(channel_values)[:, None, None] for channel_values in (dataset.mean, dataset.std))
    displayed = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [
        PreviewImage(image, describe_label(label, dataset.classes))
        for image, label in zip(displayed, labels, strict=True)
    ]


def describe_label(label: Tensor, classes: Sequence[str]) -> str:
    """The name of a class, or those of a mixture with their shares."""
    if label.ndim == 0:
        return classes[int(label)]
    share, number = label.sort(descending=True)
    named = [(classes[int(n)], float(s)) for s, n in zip(share, number, strict=True) if s > 0]
    return named[0][0] if len(named) == 1 else " + ".join(f"{name} {s:.0%}" for name, s in named)
