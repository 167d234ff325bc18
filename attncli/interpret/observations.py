"""What is seen at a site, as arrays without torch: of one image (View), and over many images (Spread)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attncli.attention.observation import ObservationKind

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SiteView:
    """One image at one site.

    `values` by kind: gate (C, H, W); affinity (L, S); choice (M,); offsets (taps, 2, H', W'); path (T, 2);
    warp (H, W, 2). `channels` are a gate's or a choice's values a channel, (C,) or (M, C); None where channels do not
    differ. `places` is a gate's map (H, W), None where places do not differ. `output` is the warped image (H, W, 3).
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
    """Many images at one site: `values` (n, units) is one number a unit, and `measure` says which.

    The units are a gate's channels (or places, where channels do not differ), the branches chosen from, an affinity's
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
        """The mean of each unit over each class's images: (classes, units); nan for a class without one."""
        means = np.full((classes, self.values.shape[1]), np.nan, np.float32)
        for c in range(classes):
            rows = self.values[self.labels == c]
            if len(rows):
                means[c] = rows.mean(0)
        return means

    def to_json_dict(self) -> dict[str, Any]:
        """The figures for programs: quartiles, and how much units, images and classes differ (deviations)."""
        classes = self.average_by_class(int(self.labels.max()) + 1)
        low, middle, high = (float(v) for v in np.quantile(self.values, (0.25, 0.5, 0.75)))
        return {
            "site": self.site,
            "kind": self.kind,
            "what": self.what,
            "measure": self.measure,
            "mean": float(self.values.mean()),
            "quartiles": [low, middle, high],
            "between_units": float(self.values.mean(0).std()),
            "between_images": float(self.values.std(0).mean()),
            "between_classes": float(np.nanstd(classes, 0).mean()),
        }
