"""What was seen of a batch, cut into single images and into one number a unit."""

import math

import numpy as np
import torch
from torch import Tensor

from attncli.attention.observation import Observation
from attncli.interpret import gate_estimation
from attncli.interpret.observations import Array, SiteView

MEASURE_NAMES = {
    "gate": "gate",
    "choice": "weight",
    "affinity": "evenness of a query's row (1: takes from all keys alike)",
    "offsets": "length of the offset, px",
    "path": "step between glimpses, image sides",
    "warp": "side of the part looked at, image sides",
}


def make_site_view(site: str, observation: Observation, i: int, images: int) -> SiteView:
    """Image i of a batch of so many images; of a clip its middle frame, where frames are seen apart."""
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
    """One number a unit of each image, (images, units), as MEASURES says; of a clip the mean over its frames."""
    unit_values = to_numpy(_UNIT_MEASURES[observation.kind](observation.values.float()))
    return unit_values.reshape(images, -1, unit_values.shape[1]).mean(1)


def to_numpy(t: Tensor) -> Array:
    """A tensor as numbers of numpy."""
    values: Array = t.detach().float().cpu().numpy().astype(np.float32)
    return values


def _gate_values(s: Tensor) -> Tensor:
    s = gate_estimation.expand_gate(s)
    channels, places = gate_estimation.split_gate(s)
    if s.shape[1] == 1 and places is not None:
        return places.flatten(1)
    return channels if channels is not None else s.mean((2, 3))


def _row_evenness(a: Tensor) -> Tensor:
    """Entropy of each row over that of equal shares, 0 to 1."""
    p = a.clamp_min(0) / a.clamp_min(0).sum(2, keepdim=True).clamp_min(1e-12)
    return -torch.special.xlogy(p, p).sum(2) / math.log(max(p.shape[2], 2))


def _warp_side(grid: Tensor) -> Tensor:
    """Square root of the share of the image between a grid's corners, (N, H, W, 2) -> (N, 1)."""
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
