"""Training images as the network sees them, with their labels in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attncli.data.dataset import Dataset
from attncli.data.loader import BatchLayout, iterate_train_batches
from attncli.recipe import Recipe


@dataclass(frozen=True)
class PreviewImage:
    """An image (H, W, 3), uint8, as the network sees it, and its label in words."""

    image: NDArray[np.uint8]
    label: str


def draw_preview(dataset: Dataset, count: int, recipe: Recipe, *, epoch: int) -> list[PreviewImage]:
    """Return the first `count` images of an epoch as the training of a recipe sees them; of clips, the middle frame.

    They come from the batches of the training, as crops, flips and mixtures are drawn for a batch as a whole.
    """
    layout = BatchLayout(batch_size=recipe.train.batch_size, device=torch.device("cpu"), channels_last=False)
    batches = iterate_train_batches(
        dataset.train, dataset, layout, seed=recipe.seed, epoch=epoch, balanced=recipe.train.sampling == "balanced"
    )
    shown_batches = list(islice(batches, -(-count // recipe.train.batch_size)))
    images, labels = (torch.cat(parts)[:count] for parts in zip(*shown_batches, strict=True))
    if dataset.frames is not None:
        images = images[:, dataset.frames // 2]
    mean, std = (torch.tensor(channel_values)[:, None, None] for channel_values in (dataset.mean, dataset.std))
    displayed = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [
        PreviewImage(image, describe_label(label, dataset.classes))
        for image, label in zip(displayed, labels, strict=True)
    ]


def describe_label(label: Tensor, classes: Sequence[str]) -> str:
    """Return the name of the class, or the names of a mixture with their shares."""
    if label.ndim == 0:
        return classes[int(label)]
    share, number = label.sort(descending=True)
    named = [(classes[int(n)], float(s)) for s, n in zip(share, number, strict=True) if s > 0]
    return named[0][0] if len(named) == 1 else " + ".join(f"{name} {s:.0%}" for name, s in named)
