"""Digits at random places among pieces of other digits (data.of, default digits), as in the papers of RAM and STN.

After Mnih et al. (2014, Sec. 4.1, "cluttered translated MNIST"): an image is put at a random place of a larger black
canvas, and pieces cut at random places from random training images of the same dataset are added at random places.
28x28 images get a canvas of 60x60 and four pieces of 8x8, as in the paper; other sizes keep the proportions (8x8
digits: a canvas of 20x20 and pieces of 3x3). data.image_size sets another canvas, with the same number of pieces; the
image keeps its size. Where parts overlap, the brighter value is shown.

Everything is drawn once per image from a fixed seed, so the dataset is the same in every run. There is no random crop
unless data.pad is set: the place varies already, and a crop could cut into a digit.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.arrays import ImageArray, make_image_array
from attncli.data.paths import DataPaths
from attncli.data.readers.in_memory import check_image_memory
from attncli.data.registry import read_base
from attncli.dataset_catalog import list_by_property
from attncli.errors import UserError
from attncli.recipe import Data
from attncli.seeds import derive_seed

ORIGIN = "generated"
PIECES = 4
CHUNK = 4096  # images rendered at a time


@dataclass(frozen=True)
class Scene:
    """What is drawn for each of n images, all in pixels (y, x) or row numbers; p = PIECES."""

    digit_corner: Tensor  # (n, 2) of the digit on the canvas
    piece_sources: Tensor  # (n, p) training images the pieces are cut from
    cut_corner: Tensor  # (n, p, 2) where they are cut from
    put_corner: Tensor  # (n, p, 2) where they are put on the canvas


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return cluttered images of data.of. Raises UserError for another base, or a canvas smaller than an image."""
    base = read_base(data, paths, list_by_property(grey_on_black=True), None)
    pool = base.train.read_all().values[..., 0]  # grey: the three planes are equal
    side = pool.shape[-1]
    if isinstance(data.image_size, list):
        raise UserError(f"data.image_size: {data.image_size}: the canvas is square", "give one number, its side")
    canvas_side = data.image_size or compute_canvas_side(side)
    if canvas_side < side:
        raise UserError(f"data.image_size: {canvas_side}: smaller than the images ({side})", f"at least {side}")
    check_image_memory(len(base.train.labels) + len(base.test.labels), (canvas_side, canvas_side))
    return replace(
        base,
        train=_make_cluttered_split(base.train, pool, canvas_side, "train"),
        test=_make_cluttered_split(base.test, pool, canvas_side, "test"),
        origin=f"cluttered {data.of or 'digits'} on {canvas_side}x{canvas_side} ({base.origin})",
        pad=0,
        mean=None,
        std=None,
    )


def compute_canvas_side(side: int) -> int:
    """Return the canvas for images of a side: 60 for 28, else in proportion, rounded up to a multiple of 4."""
    return 4 * math.ceil(side * 60 / 28 / 4)


def compute_piece_side(side: int) -> int:
    """Return the side of a piece: 8 for 28, else in proportion, rounded up."""
    return math.ceil(side * 8 / 28)


def _make_cluttered_split(base: LazySplit, pool: Tensor, canvas_side: int, name: str) -> LazySplit:
    scene = draw_scene(len(base.labels), len(pool), pool.shape[-1], canvas_side, name)

    def read_rows(rows: Tensor) -> ImageArray:
        row_scene = Scene(**{k: v[rows] for k, v in vars(scene).items()})
        grey = render_scenes(base.read(rows).values[..., 0], row_scene, pool, canvas_side)
        return make_image_array(grey[..., None].expand(-1, -1, -1, 3).contiguous())

    return LazySplit(base.labels, read_rows)


def draw_scene(count: int, pool_count: int, side: int, canvas_side: int, name: str) -> Scene:
    """Draw places and pieces of n images; a training image gets no piece of itself."""
    generator = torch.Generator().manual_seed(derive_seed(0, "cluttered", name))
    piece_side = compute_piece_side(side)
    piece_sources = torch.randint(pool_count - 1, (count, PIECES), generator=generator)
    if name == "train":
        piece_sources += piece_sources >= torch.arange(count)[:, None]
    return Scene(
        digit_corner=torch.randint(canvas_side - side + 1, (count, 2), generator=generator),
        piece_sources=piece_sources,
        cut_corner=torch.randint(side - piece_side + 1, (count, PIECES, 2), generator=generator),
        put_corner=torch.randint(canvas_side - piece_side + 1, (count, PIECES, 2), generator=generator),
    )


def render_scenes(images: Tensor, scene: Scene, pool: Tensor, canvas_side: int) -> Tensor:
    """Return (n, canvas, canvas), uint8, from images (n, side, side) and a pool (m, side, side) of pieces."""
    canvases = images.new_zeros(len(images), canvas_side, canvas_side)
    piece_side = compute_piece_side(images.shape[-1])
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        chunk = canvases[rows]
        numbers = torch.arange(len(chunk))
        _brighten_canvas(chunk, numbers, scene.digit_corner[rows], images[rows])
        for p in range(PIECES):
            y, x = _index_square(scene.cut_corner[rows, p], piece_side)
            pieces = pool[scene.piece_sources[rows, p][:, None, None], y, x]  # (n, piece, piece)
            _brighten_canvas(chunk, numbers, scene.put_corner[rows, p], pieces)
    return canvases


def _brighten_canvas(canvases: Tensor, numbers: Tensor, corner: Tensor, patch: Tensor) -> None:
    """Put patches (n, s, s) at their corners (n, 2) of canvases, in place; the brighter value wins."""
    y, x = _index_square(corner, patch.shape[-1])
    index = (numbers[:, None, None], y, x)
    canvases[index] = torch.maximum(canvases[index], patch)


def _index_square(corner: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return row numbers (n, side, 1) and column numbers (n, 1, side) of squares with these corners."""
    steps = torch.arange(side)
    return corner[:, :1, None] + steps[:, None], corner[:, 1:, None] + steps
