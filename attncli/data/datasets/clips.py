"""Short clips made of still images (data.of, default digits): the image moves, is scaled and is covered for a while.

A clip has T = data.frames frames (n, T, 3, H, W) and the label of its image. Frame t shows the image

    moved by   p + v (t / (T - 1) - 1/2),   p uniform in +-1/8 and v in +-1/4 of the side, independently for both axes;
    scaled by  a^(1 - t/(T - 1)) b^(t/(T - 1)),   log a and log b uniform in +-log 1.25,

bilinear, black outside. A square of half the side, with one grey level at one place, covers it in ceil(T/2) consecutive
frames, so no single frame shows as much as the clip. Everything is drawn once per image from a fixed seed, so clips are
the same in every run. Clips are mirrored in training if the images of the base dataset are.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.arrays import ImageArray, make_image_array
from attncli.data.paths import DataPaths
from attncli.data.readers.in_memory import check_image_memory
from attncli.data.registry import DATASETS, read_base
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.recipe import Data
from attncli.seeds import derive_seed

ORIGIN = "generated"
OFFSET, TRAVEL, SCALE = 1 / 8, 1 / 4, 1.25
CHUNK = 256  # clips rendered at a time


@dataclass(frozen=True)
class Motion:
    """What is drawn for each of n clips; lengths are shares of the side."""

    offset: Tensor  # (n, 2): x, y
    travel: Tensor  # (n, 2)
    log_scale: Tensor  # (n, 2): at the first and the last frame
    corner: Tensor  # (n, 2) of the covering square, from 0 to 1: x, y
    grey: Tensor  # (n,) from 0 to 1
    start: Tensor  # (n,) from 0 to 1: when it begins


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return clips of the dataset data.of.

    Raises UserError for resized crops, and for a base that is generated or cannot be read.
    """
    if data.crop == "resized":
        raise UserError("data.crop: resized crops are not for clips", "data.crop: pad")
    allowed = tuple(name for name in DATASETS if not has_origin(name, "generated"))
    base = read_base(data, paths, allowed, data.image_size)
    splits = {"train": base.train, "val": base.val, "test": base.test}
    clip_splits = {
        split_name: _make_clip_split(lazy_split, data.frames, split_name)
        for split_name, lazy_split in splits.items()
        if lazy_split is not None
    }
    return replace(
        base,
        train=clip_splits["train"],
        val=clip_splits.get("val"),
        test=clip_splits["test"],
        origin=f"clips of {data.frames} frames of {data.of or 'digits'} ({base.origin})",
        mean=None,
        std=None,
    )


def _make_clip_split(base: LazySplit, frames: int, name: str) -> LazySplit:
    motion = draw_motion(len(base.labels), derive_seed(0, "clips", name))

    def read_rows(rows: Tensor) -> ImageArray:
        row_motion = Motion(**{k: v[rows] for k, v in vars(motion).items()})
        return make_image_array(render_clips(base.read(rows).values, row_motion, frames))

    return LazySplit(base.labels, read_rows, base.files, base.groups)


def draw_motion(count: int, seed: int) -> Motion:
    """Draw motion, scale and cover of n clips from one seed."""
    uniform = torch.rand(10, count, generator=torch.Generator().manual_seed(seed)).T
    signed = 2 * uniform - 1
    return Motion(
        offset=OFFSET * signed[:, 0:2],
        travel=TRAVEL * signed[:, 2:4],
        log_scale=math.log(SCALE) * signed[:, 4:6],
        corner=uniform[:, 6:8],
        grey=uniform[:, 8],
        start=uniform[:, 9],
    )


def render_clips(images: Tensor, motion: Motion, frames: int) -> Tensor:
    """Return clips (n, T, H, W, 3) of images (n, H, W, 3), uint8."""
    check_image_memory(len(images), (images.shape[1], images.shape[2]), frames)
    clips = images.new_empty(len(images), frames, *images.shape[1:])
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        chunk_motion = Motion(**{k: v[rows] for k, v in vars(motion).items()})
        moved = _move_images(images[rows], chunk_motion, frames)
        clips[rows] = torch.where(
            _make_cover_mask(chunk_motion, frames, *images.shape[1:3]), _compute_cover_grey(chunk_motion), moved
        )
    return clips


def _move_images(images: Tensor, motion: Motion, frames: int) -> Tensor:
    """Return each image at its places and sizes, (n, T, H, W, 3), uint8."""
    n, height, width, _ = images.shape
    time = torch.linspace(0, 1, frames)  # (T,)
    shift = 2 * (motion.offset[:, None] + motion.travel[:, None] * (time[:, None] - 0.5))  # (n, T, 2) of [-1, 1]
    zoom = torch.exp(motion.log_scale[:, :1] * (1 - time) + motion.log_scale[:, 1:] * time)  # (n, T)
    theta = torch.zeros(n, frames, 2, 3)  # from places in the frame to places in the image
    theta[..., 0, 0] = theta[..., 1, 1] = 1 / zoom
    theta[..., 2] = -shift / zoom[..., None]
    grid = F.affine_grid(theta.flatten(0, 1), [n * frames, 3, height, width], align_corners=False)
    x = images.permute(0, 3, 1, 2).float().repeat_interleave(frames, dim=0)
    y = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return y.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).unflatten(0, (n, frames))


def _make_cover_mask(motion: Motion, frames: int, height: int, width: int) -> Tensor:
    """Return where the square covers the image, (n, T, H, W, 1), bool."""
    run_length = -(-frames // 2)
    first = (motion.start * (frames - run_length + 1)).long().clamp_max(frames - run_length)[:, None]
    time = torch.arange(frames)
    is_covering = (time >= first) & (time < first + run_length)  # (n, T)
    inside = []
    for axis, length in ((1, height), (0, width)):
        side = max(1, length // 2)
        low = (motion.corner[:, axis] * (length - side + 1)).long().clamp_max(length - side)[:, None]
        position = torch.arange(length)
        inside.append((position >= low) & (position < low + side))  # (n, H) and (n, W)
    return (is_covering[:, :, None, None] & inside[0][:, None, :, None] & inside[1][:, None, None, :])[..., None]


def _compute_cover_grey(motion: Motion) -> Tensor:
    return (255 * motion.grey).round().to(torch.uint8)[:, None, None, None, None]
