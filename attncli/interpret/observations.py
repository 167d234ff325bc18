"""Observations at a site as numpy arrays: of one image (SiteView), and of many images (SiteDistribution)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attncli.attention.observation import Observation, ObservationKind
from attncli.interpret import gate_estimation

Array = NDArray[np.float32]
MEASURE_NAMES = {
    "gate": "gate",
    "choice": "weight",
    "affinity": "evenness of a query's row (1: takes from all keys alike)",
    "offsets": "length of the offset, px",
    "path": "step between glimpses, image sides",
    "warp": "side of the part looked at, image sides",
}


@dataclass(frozen=True)
class SiteView:
    """One image at one site.

    `values` by kind: gate (C, H, W); affinity (L, S); choice (M,); offsets (taps, 2, H', W'); path (T, 2);
    warp (H, W, 2). `channels` are a gate's or a choice's values per channel, (C,) or (M, C); None if channels do not
    differ. `places` is a gate's map (H, W), None if places do not differ. `output` is the warped image (H, W, 3).
    """

    site: str
    kind: ObservationKind
    what: str
    values: Array
    channels: Array | None = None
    places: Array | None = None
    queries: tuple[int, int] | None = None
    keys: tuple[int, int] | None = None
    tokens: bool = False
    names: tuple[str, ...] = ()
    taps: Array | None = None
    sides: tuple[int, ...] = ()
    output: Array | None = None


@dataclass(frozen=True)
class SiteDistribution:
    """Many images at one site: `values` (n, units) is one number per unit, and `measure` says which.

    The units are a gate's channels (or places, if channels do not differ), the branches chosen from, an affinity's
    queries, the taps of a convolution, the steps of a path; a warp has one. `labels` (n,) are the true classes.
    """

    site: str
    kind: ObservationKind
    what: str
    measure: str
    values: Array
    labels: NDArray[np.int64]
    names: tuple[str, ...] = ()

    def average_by_class(self, classes: int) -> Array:
        """Return the mean of each unit over each class's images, (classes, units); nan for a class without images."""
        means = np.full((classes, self.values.shape[1]), np.nan, np.float32)
        for c in range(classes):
            rows = self.values[self.labels == c]
            if len(rows):
                means[c] = rows.mean(0)
        return means

    def estimate_class_deviation(self) -> float | None:
        """Return the standard deviation between classes, without what the choice of images adds to their means.

        It is that of the random effects model value[i] = mean + class + rest, over all units. Returns None for a single
        class, and if no class has two images, as classes and images cannot be told apart then.
        """
        _, rows, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        if len(counts) < 2 or counts.max() < 2:
            return None
        sums = np.zeros((len(counts), self.values.shape[1]))
        np.add.at(sums, rows, self.values)
        means = sums / counts[:, None]
        variance_of_rest = ((self.values - means[rows]) ** 2).sum(0) / (len(rows) - len(counts))
        variances = means.var(0, ddof=1) - variance_of_rest * (1 / counts).mean()
        return float(np.sqrt(np.maximum(variances.mean(), 0.0)))

    def to_json_dict(self) -> dict[str, Any]:
        """Return the figures for JSON: quartiles, and the standard deviations between units, images and classes.

        Those between images and classes are of the mean variance over the units.
        """
        low, middle, high = (float(v) for v in np.quantile(self.values, (0.25, 0.5, 0.75)))
        return {
            "site": self.site,
            "kind": self.kind,
            "what": self.what,
            "measure": self.measure,
            "mean": float(self.values.mean()),
            "quartiles": [low, middle, high],
            "between_units": float(self.values.mean(0).std()),
            "between_images": float(np.sqrt(self.values.var(0).mean())),
            "between_classes": self.estimate_class_deviation(),
        }


def make_site_view(site: str, observation: Observation, i: int, images: int) -> SiteView:
    """Return image i of a batch of `images` images; of a clip its middle frame, if frames are observed one by one."""
    values = observation.values
    frames = max(1, len(values) // images)
    i = i * frames + frames // 2
    image_values = values[i : i + 1]
    channels = places = None
    if observation.kind == "gate":
        image_values = gate_estimation.expand_gate(image_values)
        channels, places = gate_estimation.split_gate(image_values)
    if observation.kind == "choice" and image_values.ndim == 3:
        channels, image_values = image_values, image_values.mean(2)
    return SiteView(
        site=site,
        kind=observation.kind,
        what=observation.what,
        values=to_numpy(image_values[0]),
        channels=None if channels is None else to_numpy(channels[0]),
        places=None if places is None else to_numpy(places[0]),
        queries=observation.queries,
        keys=observation.keys,
        tokens=observation.tokens,
        names=observation.names,
        taps=None if observation.taps is None else to_numpy(observation.taps),
        sides=observation.sides,
    )


def compute_unit_values(observation: Observation, images: int) -> Array:
    """Return one number per unit and image, (images, units), see MEASURE_NAMES; for a clip the mean over its frames."""
    unit_values = to_numpy(_UNIT_MEASURES[observation.kind](observation.values.float()))
    return unit_values.reshape(images, -1, unit_values.shape[1]).mean(1)


def to_numpy(t: Tensor) -> Array:
    """Return a tensor as a float32 array."""
    values: Array = t.detach().float().cpu().numpy().astype(np.float32)
    return values


def _gate_values(s: Tensor) -> Tensor:
    s = gate_estimation.expand_gate(s)
    if s.shape[1] == 1 and s[0].numel() > 1:  # also if they are alike: each batch has the same units
        return s.flatten(1)
    return s.mean((2, 3))


def _row_evenness(a: Tensor) -> Tensor:
    """Return the entropy of each row divided by that of equal shares, 0 to 1."""
    p = a.clamp_min(0) / a.clamp_min(0).sum(2, keepdim=True).clamp_min(1e-12)
    return -torch.special.xlogy(p, p).sum(2) / math.log(max(p.shape[2], 2))


def _warp_side(grid: Tensor) -> Tensor:
    """Return the square root of the share of the image between a grid's corners, (N, H, W, 2) -> (N, 1)."""
    x, y = torch.stack([grid[:, 0, 0], grid[:, 0, -1], grid[:, -1, -1], grid[:, -1, 0]], 1).unbind(2)
    double_area = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1)  # the area of a polygon, twice
    full_area = 8 * (1 - 1 / grid.shape[2]) * (1 - 1 / grid.shape[1])  # of the pixels' middles
    return (double_area.abs() / full_area).sqrt()[:, None]


_UNIT_MEASURES = {
    "gate": _gate_values,
    "choice": lambda t: t.flatten(2).mean(2) if t.ndim > 2 else t,
    "affinity": _row_evenness,
    "offsets": lambda t: t.square().sum(2).sqrt().mean((2, 3)),
    "path": lambda t: t.diff(dim=1).square().sum(2).sqrt() / 2,
    "warp": _warp_side,
}
