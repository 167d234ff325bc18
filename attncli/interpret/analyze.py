"""Analyze a few test images one by one, and many together."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from attncli.attention.observation import Observation
from attncli.data.dataset import Dataset, Split
from attncli.data.loader import BatchLayout, iterate_eval_batches
from attncli.interpret.gradcam import compute_gradcam
from attncli.interpret.hooks import GateKinds, recorded_observations
from attncli.interpret.load_run import LoadedRun
from attncli.interpret.observations import (
    MEASURE_NAMES,
    Array,
    SiteDistribution,
    SiteView,
    compute_unit_values,
    make_site_view,
    to_numpy,
)
from attncli.interpret.token_grid import find_token_grid
from attncli.seeds import derive_seed
from attncli.train.distributed import choose_kernels, seed_everything
from attncli.train.random_state import kept_random_state

MAX_BATCH_PIXELS = 1 << 17  # per batch, so that its observations fit into memory


@dataclass(frozen=True)
class ImageAnalysis:
    """One test image: `pixels` (H, W, 3) from 0 to 1, classes by name, views per site, Grad-CAM of the truth."""

    index: int  # in the test set
    pixels: Array
    truth: str
    predicted: str
    probability: float  # of the prediction
    views: list[SiteView]
    cam: Array | None  # (h, w), largest value 1
    plain_predicted: str | None = None
    plain_probability: float | None = None
    plain_cam: Array | None = None


@dataclass(frozen=True)
class AttentionAnalysis:
    """What a run's attention does: to single images, and per site over `sample` images of the test set."""

    images: list[ImageAnalysis]
    distributions: list[SiteDistribution]
    classes: tuple[str, ...]
    sample: int


def analyze_attention(
    loaded_run: LoadedRun, baseline: LoadedRun | None = None, *, images: int = 6, sample: int = 256
) -> AttentionAnalysis:
    """Analyze `images` test images, of as many classes as possible, and `sample` of them for the distributions.

    The choice of images is the same for every run on the same data.
    """
    dataset = loaded_run.dataset
    choose_kernels(loaded_run.device, "fp32")
    rows = choose_image_rows(dataset.test.labels, max(images, sample))
    gate_kinds: GateKinds = {}  # in the pictures and the distributions alike
    return AttentionAnalysis(
        [_merge_baseline(*pair) for pair in _analyze_images(loaded_run, baseline, rows[:images], gate_kinds)],
        measure_distributions(loaded_run, rows[:sample], gate_kinds),
        dataset.classes,
        min(sample, len(rows)),
    )


def choose_image_rows(labels: Tensor, count: int) -> Tensor:
    """Return the row numbers of `count` images: the first of every class, then the second of every class, and so on."""
    seen_by_class: dict[int, int] = defaultdict(int)
    keys = []
    for row, label in enumerate(labels.tolist()):
        keys.append((seen_by_class[label], label, row))
        seen_by_class[label] += 1
    return torch.tensor([row for *_, row in sorted(keys)[:count]], dtype=torch.int64)


def measure_distributions(
    loaded_run: LoadedRun, rows: Tensor, gate_kinds: GateKinds | None = None
) -> list[SiteDistribution]:
    """Return the distributions of all sites: one number per unit and image, for the images of these rows.

    `gate_kinds` is what earlier batches showed the sites to be, see `recorded_observations`.
    """
    gate_kinds = {} if gate_kinds is None else gate_kinds  # the same for each batch, which have the same units then
    parts: dict[tuple[str, int], list[Array]] = defaultdict(list)
    last_observations: dict[tuple[str, int], Observation] = {}
    for x, _, _ in _iterate_row_batches(loaded_run, rows):
        with (
            recorded_observations(loaded_run.net, gate_kinds) as recorded,
            torch.no_grad(),
            _seeded_random_numbers(loaded_run),
        ):
            loaded_run.net(x)
        for site, site_observations in recorded.items():
            for i, observation in enumerate(site_observations):
                parts[site, i].append(compute_unit_values(observation, len(x)))
                last_observations[site, i] = observation
    labels = loaded_run.dataset.test.labels[rows].numpy()
    return [
        SiteDistribution(
            site,
            observation.kind,
            observation.what,
            MEASURE_NAMES[observation.kind],
            np.concatenate(parts[site, i]),
            labels,
            observation.names,
        )
        for (site, i), observation in last_observations.items()
    ]


def _analyze_images(
    loaded_run: LoadedRun, baseline: LoadedRun | None, rows: Tensor, gate_kinds: GateKinds
) -> list[tuple[ImageAnalysis, ImageAnalysis | None]]:
    analyses = []
    for x, labels, batch_rows in _iterate_row_batches(loaded_run, rows):
        own_analyses = _analyze_batch(loaded_run, x, labels, batch_rows, gate_kinds)
        baseline_analyses: Sequence[ImageAnalysis | None] = (
            _analyze_batch(baseline, x, labels, batch_rows, {}) if baseline else [None] * len(own_analyses)
        )
        analyses += list(zip(own_analyses, baseline_analyses, strict=True))
    return analyses


def _analyze_batch(
    loaded_run: LoadedRun, x: Tensor, labels: Tensor, rows: Tensor, gate_kinds: GateKinds
) -> list[ImageAnalysis]:
    """Return the analyses of the images of a batch by one network."""
    names = loaded_run.dataset.classes
    with (
        recorded_observations(loaded_run.net, gate_kinds) as recorded,
        torch.no_grad(),
        _seeded_random_numbers(loaded_run),
    ):
        predictions = loaded_run.net(x).softmax(1).max(1)
    with _seeded_random_numbers(loaded_run):
        cams = compute_gradcam(loaded_run.net, x, labels)
    size = (x.shape[-2], x.shape[-1])
    views = [
        [
            _place_view(make_site_view(site, observation, i, len(x)), size, x[i], loaded_run.dataset)
            for site, site_observations in recorded.items()
            for observation in site_observations
        ]
        for i in range(len(x))
    ]
    return [
        ImageAnalysis(
            index=int(rows[i]),
            pixels=image_pixels(loaded_run.dataset.test, int(rows[i])),
            truth=names[int(loaded_run.dataset.test.labels[rows[i]])],
            predicted=names[int(predictions.indices[i])],
            probability=float(predictions.values[i]),
            views=views[i],
            cam=None if cams is None else to_numpy(cams[i]),
        )
        for i in range(len(x))
    ]


def _merge_baseline(analysis: ImageAnalysis, baseline: ImageAnalysis | None) -> ImageAnalysis:
    if baseline is None:
        return analysis
    return replace(
        analysis, plain_predicted=baseline.predicted, plain_probability=baseline.probability, plain_cam=baseline.cam
    )


def _place_view(view: SiteView, size: tuple[int, int], x: Tensor, dataset: Dataset) -> SiteView:
    """Return the view with what the image determines: the positions of its tokens, and the warped image."""
    if view.tokens:
        queries = find_token_grid(view.values.shape[0], size)
        keys = queries if view.values.shape[0] == view.values.shape[1] else None
        return replace(view, queries=queries, keys=keys)
    if view.kind == "warp":
        grid = torch.from_numpy(view.values)[None].to(x.dtype)
        frame = (x[len(x) // 2] if x.ndim == 4 else x).cpu()  # where the observed grid is
        warped = nn.functional.grid_sample(frame[None], grid, align_corners=False)[0]
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (dataset.mean, dataset.std))
        return replace(view, output=to_numpy((warped * std + mean).clamp(0, 1).movedim(0, -1)))
    return view


def image_pixels(split: Split, row: int) -> Array:
    """Return an image to show, (H, W, 3) from 0 to 1; for a clip the middle frame."""
    image = split.images[row]
    frame = image[len(image) // 2] if image.ndim == 4 else image
    return to_numpy(frame.movedim(0, -1).float() / 255)


def _iterate_row_batches(loaded_run: LoadedRun, rows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the test images of these rows as the network takes them, on its device; with labels and row numbers."""
    dataset = loaded_run.dataset
    split = Split(dataset.test.images[rows], dataset.test.labels[rows])
    size = max(1, MAX_BATCH_PIXELS // split.images[0, ..., 0, :, :].numel())
    layout = BatchLayout(batch_size=size, device=loaded_run.device, channels_last=False)
    batches = iterate_eval_batches(split, dataset, layout)
    for (x, labels), batch_rows in zip(batches, rows.split(size), strict=True):
        yield x, labels, batch_rows


@contextmanager
def _seeded_random_numbers(loaded_run: LoadedRun) -> Iterator[None]:
    """Seed the random numbers of mechanisms that draw, and restore the state afterwards."""
    with kept_random_state(loaded_run.device):
        seed_everything(derive_seed(loaded_run.recipe.seed, "look"), loaded_run.device)
        yield
