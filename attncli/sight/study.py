"""A handful of test images looked at one by one, and many looked at together."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from attncli.attention.seen import Seen
from attncli.data.batches import eval_batches
from attncli.data.dataset import Dataset, Split
from attncli.sight import arrays
from attncli.sight.gradcam import gradcam
from attncli.sight.hooks import watching
from attncli.sight.restore import Trained
from attncli.sight.tokens import tiles
from attncli.sight.view import Array, Spread, View
from attncli.streams import stream

PIXELS = 1 << 17  # of a batch, so that what is seen of it fits into memory


@dataclass(frozen=True)
class Image:
    """One test image: `pixels` (H, W, 3) from 0 to 1, classes by name, what each site did, Grad-CAM of the truth."""

    index: int  # in the test set
    pixels: Array
    truth: str
    predicted: str
    probability: float  # of the prediction
    views: list[View]
    cam: Array | None  # (h, w), largest value 1
    plain_predicted: str | None = None
    plain_probability: float | None = None
    plain_cam: Array | None = None


@dataclass(frozen=True)
class Study:
    """What a run's attention does: to single images, and by site over `sample` images of the test set."""

    images: list[Image]
    spreads: list[Spread]
    classes: tuple[str, ...]
    sample: int


def study(trained: Trained, baseline: Trained | None = None, *, images: int = 6, sample: int = 256) -> Study:
    """Look at `images` test images, of as many classes as there are, and at `sample` of them for the spreads.

    The choice is the same for every run on the same data.
    """
    dataset = trained.dataset
    rows = chosen(dataset.test.labels, max(images, sample))
    return Study(
        [_merged(*pair) for pair in _images(trained, baseline, rows[:images])],
        spreads(trained, rows[:sample]),
        dataset.classes,
        min(sample, len(rows)),
    )


def chosen(labels: Tensor, count: int) -> Tensor:
    """Row numbers of `count` images: the first of every class in turn, then the second, and so on."""
    seen: dict[int, int] = defaultdict(int)
    keys = []
    for row, label in enumerate(labels.tolist()):
        keys.append((seen[label], label, row))
        seen[label] += 1
    return torch.tensor([row for *_, row in sorted(keys)[:count]], dtype=torch.int64)


def spreads(trained: Trained, rows: Tensor) -> list[Spread]:
    """One number a unit of every site over the images of these rows."""
    parts: dict[tuple[str, int], list[Array]] = defaultdict(list)
    last: dict[tuple[str, int], Seen] = {}
    for x, _, _ in _batches(trained.dataset, rows):
        with watching(trained.net) as found, torch.no_grad(), _drawing(trained):
            trained.net(x)
        for site, seen in found.items():
            for i, s in enumerate(seen):
                parts[site, i].append(arrays.units(s, len(x)))
                last[site, i] = s
    labels = trained.dataset.test.labels[rows].numpy()
    return [
        Spread(site, s.kind, s.what, arrays.MEASURES[s.kind], np.concatenate(parts[site, i]), labels, s.names)
        for (site, i), s in last.items()
    ]


def _images(trained: Trained, baseline: Trained | None, rows: Tensor) -> list[tuple[Image, Image | None]]:
    found = []
    for x, labels, part in _batches(trained.dataset, rows):
        own = _look(trained, x, labels, part)
        plain: Sequence[Image | None] = _look(baseline, x, labels, part) if baseline else [None] * len(own)
        found += list(zip(own, plain, strict=True))
    return found


def _look(trained: Trained, x: Tensor, labels: Tensor, rows: Tensor) -> list[Image]:
    """The images of a batch as one network sees them."""
    names = trained.dataset.classes
    with watching(trained.net) as found, torch.no_grad(), _drawing(trained):
        best = trained.net(x).softmax(1).max(1)
    with _drawing(trained):
        cams = gradcam(trained.net, x, labels)
    size = (x.shape[-2], x.shape[-1])
    views = [
        [
            _placed(arrays.view(site, s, i, len(x)), size, x[i], trained.dataset)
            for site, ss in found.items()
            for s in ss
        ]
        for i in range(len(x))
    ]
    return [
        Image(
            index=int(rows[i]),
            pixels=pixels(trained.dataset.test, int(rows[i])),
            truth=names[int(labels[i])],
            predicted=names[int(best.indices[i])],
            probability=float(best.values[i]),
            views=views[i],
            cam=None if cams is None else arrays.array(cams[i]),
        )
        for i in range(len(x))
    ]


def _merged(own: Image, plain: Image | None) -> Image:
    if plain is None:
        return own
    return replace(own, plain_predicted=plain.predicted, plain_probability=plain.probability, plain_cam=plain.cam)


def _placed(view: View, size: tuple[int, int], x: Tensor, dataset: Dataset) -> View:
    """The view with what follows from the image: where its tokens lie, and the warped image."""
    if view.tokens:
        queries = tiles(view.values.shape[0], size)
        keys = queries if view.values.shape[0] == view.values.shape[1] else None
        return replace(view, queries=queries, keys=keys)
    if view.kind == "warp":
        grid = torch.from_numpy(view.values)[None].to(x.dtype)
        frame = x[len(x) // 2] if x.ndim == 4 else x
        warped = nn.functional.grid_sample(frame[None], grid, align_corners=False)[0]
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (dataset.mean, dataset.std))
        return replace(view, output=arrays.array((warped * std + mean).clamp(0, 1).movedim(0, -1)))
    return view


def pixels(split: Split, row: int) -> Array:
    """An image for people, (H, W, 3) from 0 to 1; of a clip the middle frame."""
    image = split.images[row]
    frame = image[len(image) // 2] if image.ndim == 4 else image
    return arrays.array(frame.movedim(0, -1).float() / 255)


def _batches(dataset: Dataset, rows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The test images of these rows as the network takes them, with labels and row numbers."""
    split = Split(dataset.test.images[rows], dataset.test.labels[rows])
    size = max(1, PIXELS // split.images[0, ..., 0, :, :].numel())
    batches = eval_batches(split, dataset, batch_size=size, device=torch.device("cpu"), channels_last=False)
    for (x, labels), part in zip(batches, rows.split(size), strict=True):
        yield x, labels, part


@contextmanager
def _drawing(trained: Trained) -> Iterator[None]:
    """Random numbers of the looking's own, for mechanisms that draw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(trained.recipe.seed, "look"))
        yield
