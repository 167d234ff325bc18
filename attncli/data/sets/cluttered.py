"""Digits at random places among pieces of other digits (data.of, default digits), as in the papers of RAM and STN.

After Mnih et al. (2014, Sec. 4.1, "cluttered translated MNIST"): an image is put at a random place of a larger black
canvas, and pieces cut at random places from random training images of the same dataset are added at random places.
28x28 images get a canvas of 60x60 and four pieces of 8x8, as there; other sizes keep the proportions (8x8 digits: a
canvas of 20x20 and pieces of 3x3). data.image_size sets another canvas, with the same number of pieces; the image keeps
its size. Where things overlap the brighter value stands.

Drawn once for each image from a fixed seed, so the dataset is the same in every run. There is no random crop unless
data.pad says so: the place varies already, and a crop could cut into a digit.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attncli.data.dataset import Part, Pixels, Source, pixels
from attncli.data.find import read_base
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data
from attncli.streams import stream

BASES = ("digits", "mnist", "fashion-mnist")  # grey on black, with a canvas that goes on where the image ends
PIECES = 4
CHUNK = 4096  # images rendered at a time


@dataclass(frozen=True)
class Scene:
    """What is drawn for each of n images, all in pixels (y, x) or row numbers; p = PIECES."""

    place: Tensor  # (n, 2) of the digit on the canvas
    other: Tensor  # (n, p) training images the pieces are cut from
    cut: Tensor  # (n, p, 2) where they are cut from
    put: Tensor  # (n, p, 2) where they are put on the canvas


def read(data: Data, place: Place) -> Source:
    """Cluttered images of data.of. Raises UserError for another base, or a canvas smaller than an image."""
    base = read_base(data, place, BASES, None)
    pool = base.train.all().values[..., 0]  # grey: one plane tells all
    side = pool.shape[-1]
    canvas = data.image_size or canvas_of(side)
    if canvas < side:
        raise UserError(f"data.image_size: {canvas}: smaller than the images ({side})", f"at least {side}")
    return replace(
        base,
        train=_part(base.train, pool, canvas, "train"),
        test=_part(base.test, pool, canvas, "test"),
        origin=f"cluttered {data.of or 'digits'} on {canvas}x{canvas} ({base.origin})",
        pad=0,
        mean=None,
        std=None,
    )


def canvas_of(side: int) -> int:
    """60 for 28, in proportion for other sizes, rounded up to a multiple of 4."""
    return 4 * math.ceil(side * 60 / 28 / 4)


def piece_of(side: int) -> int:
    """8 for 28, in proportion for other sizes, rounded up."""
    return math.ceil(side * 8 / 28)


def _part(base: Part, pool: Tensor, canvas: int, name: str) -> Part:
    scene = draw_scene(len(base.labels), len(pool), pool.shape[-1], canvas, name)

    def read_rows(rows: Tensor) -> Pixels:
        chosen = Scene(**{k: v[rows] for k, v in vars(scene).items()})
        grey = render(base.read(rows).values[..., 0], chosen, pool, canvas)
        return pixels(grey[..., None].expand(-1, -1, -1, 3).contiguous())

    return Part(base.labels, read_rows)


def draw_scene(n: int, pool: int, side: int, canvas: int, name: str) -> Scene:
    """Places and pieces of n images; a training image gets no piece of itself."""
    random = torch.Generator().manual_seed(stream(0, "cluttered", name))
    piece = piece_of(side)
    other = torch.randint(pool - 1, (n, PIECES), generator=random)
    if name == "train":
        other += other >= torch.arange(n)[:, None]
    return Scene(
        place=torch.randint(canvas - side + 1, (n, 2), generator=random),
        other=other,
        cut=torch.randint(side - piece + 1, (n, PIECES, 2), generator=random),
        put=torch.randint(canvas - piece + 1, (n, PIECES, 2), generator=random),
    )


def render(images: Tensor, scene: Scene, pool: Tensor, canvas: int) -> Tensor:
    """(n, canvas, canvas), uint8, of images (n, side, side) and a pool (m, side, side) to cut pieces from."""
    out = images.new_zeros(len(images), canvas, canvas)
    piece = piece_of(images.shape[-1])
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        part = out[rows]
        n = torch.arange(len(part))
        _brighten(part, n, scene.place[rows], images[rows])
        for p in range(PIECES):
            y, x = _square(scene.cut[rows, p], piece)
            pieces = pool[scene.other[rows, p][:, None, None], y, x]  # (n, piece, piece)
            _brighten(part, n, scene.put[rows, p], pieces)
    return out


def _brighten(canvas: Tensor, n: Tensor, corner: Tensor, patch: Tensor) -> None:
    """Put patches (n, s, s) at their corners (n, 2) of canvases, in place, where they are brighter."""
    y, x = _square(corner, patch.shape[-1])
    at = (n[:, None, None], y, x)
    canvas[at] = torch.maximum(canvas[at], patch)


def _square(corner: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Row numbers (n, side, 1) and column numbers (n, 1, side) of squares with these corners."""
    steps = torch.arange(side)
    return corner[:, :1, None] + steps[:, None], corner[:, 1:, None] + steps
