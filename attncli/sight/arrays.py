"""What was seen of a batch, cut into single images and into one number a unit."""

import math

import numpy as np
import torch
from torch import Tensor

from attncli.attention.seen import Seen
from attncli.sight import gate
from attncli.sight.view import Array, View

MEASURES = {
    "gate": "gate",
    "choice": "weight",
    "affinity": "evenness of a query's row (1: takes from all keys alike)",
    "offsets": "length of the offset, px",
    "path": "step between glimpses, image sides",
    "warp": "side of the part looked at, image sides",
}


def view(site: str, seen: Seen, i: int, images: int) -> View:
    """Image i of a batch of so many images; of a clip its middle frame, where frames are seen apart."""
    values = seen.values
    frames = max(1, len(values) // images)
    i = i * frames + frames // 2
    one = values[i : i + 1]
    channels = places = None
    if seen.kind == "gate":
        one = gate.whole(one)
        channels, places = gate.parts(one)
    if seen.kind == "choice" and one.ndim == 3:
        channels, one = one, one.mean(2)
    return View(
        site=site,
        kind=seen.kind,
        what=seen.what,
        values=array(one[0]),
        channels=None if channels is None else array(channels[0]),
        places=None if places is None else array(places[0]),
        queries=seen.queries,
        keys=seen.keys,
        tokens=seen.tokens,
        names=seen.names,
        taps=None if seen.taps is None else array(seen.taps),
        sides=seen.sides,
    )


def units(seen: Seen, images: int) -> Array:
    """One number a unit of each image, (images, units), as MEASURES says; of a clip the mean over its frames."""
    found = array(_MEASURED[seen.kind](seen.values.float()))
    return found.reshape(images, -1, found.shape[1]).mean(1)


def array(t: Tensor) -> Array:
    """A tensor as numbers of numpy."""
    found: Array = t.detach().float().cpu().numpy().astype(np.float32)
    return found


def _gate(s: Tensor) -> Tensor:
    s = gate.whole(s)
    channels, places = gate.parts(s)
    if s.shape[1] == 1 and places is not None:
        return places.flatten(1)
    return channels if channels is not None else s.mean((2, 3))


def _evenness(a: Tensor) -> Tensor:
    """Entropy of each row over that of equal shares, 0 to 1."""
    p = a.clamp_min(0) / a.clamp_min(0).sum(2, keepdim=True).clamp_min(1e-12)
    return -torch.special.xlogy(p, p).sum(2) / math.log(max(p.shape[2], 2))


def _side(grid: Tensor) -> Tensor:
    """Square root of the share of the image between a grid's corners, (N, H, W, 2) -> (N, 1)."""
    x, y = torch.stack([grid[:, 0, 0], grid[:, 0, -1], grid[:, -1, -1], grid[:, -1, 0]], 1).unbind(2)
    twice = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1)  # the area of a polygon, twice
    whole = 8 * (1 - 1 / grid.shape[2]) * (1 - 1 / grid.shape[1])  # of the pixels' middles
    return (twice.abs() / whole).sqrt()[:, None]


_MEASURED = {
    "gate": _gate,
    "choice": lambda t: t.flatten(2).mean(2) if t.ndim > 2 else t,
    "affinity": _evenness,
    "offsets": lambda t: t.square().sum(2).sqrt().mean((2, 3)),
    "path": lambda t: t.diff(dim=1).square().sum(2).sqrt() / 2,
    "warp": _side,
}
