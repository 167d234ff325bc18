"""Datasets made of others: clips and cluttered digits."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.datasets import cluttered
from attncli.data.datasets.clips import Motion, draw_motion, render_clips
from attncli.data.registry import read_source
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import folder, noise, place


def load(tmp_path: Path, **keys: object) -> Dataset:
    """The dataset of a recipe with these keys."""
    return data.load(Data.model_validate(keys), cache=tmp_path / "cache")


def still(n: int, **more: torch.Tensor) -> Motion:
    """No motion, no scaling; the square in the upper left corner, black, from the first frame on."""
    zero = torch.zeros(n, 2)
    parts = {"offset": zero, "travel": zero, "log_scale": zero, "corner": zero, "grey": zero[:, 0], "start": zero[:, 0]}
    return Motion(**(parts | more))


def test_clips_of_digits(tmp_path: Path) -> None:
    """(n, T, 3, H, W) with the labels, parts and augmentation of the digits, the same at every call."""
    clips, digits = load(tmp_path, name="clips", frames=5), load(tmp_path)
    assert clips.train.images.shape == (1273, 5, 3, 8, 8)
    assert clips.frames == 5
    assert clips.size == (8, 8)
    assert torch.equal(clips.train.labels, digits.train.labels)
    assert torch.equal(clips.test.labels, digits.test.labels)
    assert (clips.pad, clips.flip) == (digits.pad, digits.flip)
    assert clips.digest == load(tmp_path, name="clips", frames=5).digest
    assert clips.train.images.movedim(-3, -1).is_contiguous()


def test_a_clip_depends_on_its_image_alone(tmp_path: Path) -> None:
    """A subset contains the same clips as the complete dataset."""
    whole, part = load(tmp_path, name="clips", frames=3), load(tmp_path, name="clips", frames=3, per_class=4)
    assert part.val is not None
    assert whole.val is not None
    clips = {c.numpy().tobytes() for s in (whole.train, whole.val) for c in s.images}
    assert {c.numpy().tobytes() for s in (part.train, part.val) for c in s.images} <= clips
    assert torch.equal(whole.test.images, part.test.images)


def test_clips_of_a_folder(tmp_path: Path) -> None:
    """Photographs make clips too, at the size asked for, and are mirrored in training as they are."""
    root = folder(tmp_path / "x", size=(20, 16))
    clips = load(tmp_path, name="clips", of="folder", root=str(root), image_size=12, frames=4)
    assert clips.train.images.shape[1:] == (4, 3, 12, 12)
    assert clips.flip


def test_clips_of_files_follow_the_rules_of_files(tmp_path: Path) -> None:
    """The bits of 16-bit images are measured, files that cannot be read are left out, groups stay together."""
    root = tmp_path / "x"
    paths = [f"{split}/{name}/{i}" for split in ("train", "test") for name in "ab" for i in "0123"]
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(number)[..., 0].astype(np.uint16)).save(root / f"{path}.png")
    keys = {"name": "clips", "of": "folder", "root": str(root), "frames": 2, "val_fraction": 0.0}
    clips = load(tmp_path, **keys)
    assert clips.grey_range == (0.0, 255.0)
    assert (clips.train.images > 0).float().mean() > 0.5
    (root / "train/a/0.png").write_bytes((root / "train/a/0.png").read_bytes()[:60])
    clips = load(tmp_path, **keys, bad="skip")
    assert (len(clips.train), len(clips.test)) == (7, 8)
    assert any("train/a/0.png" in note for note in clips.notes)
    source = read_source(Data.model_validate(keys | {"group_pattern": r"(\d)\.png"}), place(tmp_path, root))
    assert source.train.groups == [*"0123"] * 2
    with pytest.raises(UserError, match="not for clips"):
        load(tmp_path, **keys, crop="resized")


def test_still_frames_are_the_image() -> None:
    """Without motion and outside the square, every frame is the image itself."""
    images = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clips = render_clips(images, still(3), 4)
    assert torch.equal(clips[:, 2:], images[:, None].expand(-1, 2, -1, -1, -1))
    assert (clips[:, :2, :4, :4] == 0).all()
    assert torch.equal(clips[:, 0, 4:], images[:, 4:])


def test_motion_in_whole_pixels() -> None:
    """Travel of half the side over five frames of eight pixels moves by one pixel a frame, black coming in."""
    images = torch.randint(1, 256, (1, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    hidden = torch.ones(1)  # the square covers the last frames
    clip = render_clips(images, still(1, travel=torch.tensor([[0.5, 0.0]]), start=hidden), 5)[0]
    for t in range(2):
        left = 2 - t
        assert torch.equal(clip[t, :, : 8 - left], images[0, :, left:])
        assert (clip[t, :, 8 - left :] == 0).all()


def test_scaling_grows_the_image() -> None:
    """At scale 2, the middle half of the image fills the frame."""
    ramp = torch.arange(0, 256, 16, dtype=torch.uint8).view(1, 1, 16, 1).expand(1, 16, 16, 3).contiguous()
    late = torch.ones(1)
    clip = render_clips(ramp, still(1, log_scale=torch.full((1, 2), math.log(2)), start=late), 2)[0, 0]
    expected = F.interpolate(ramp[:, :, 4:12].permute(0, 3, 1, 2).float(), (16, 16), mode="bilinear")[0, 0, 0]
    assert (clip[8, 1:-1, 0].float() - expected[1:-1]).abs().max() <= 1


def test_what_is_drawn_stays_in_its_bounds() -> None:
    """Offsets within 1/8, travel within 1/4, scales within 1.25, and all of the range is used."""
    motion = draw_motion(5000, 0)
    for drawn, bound in ((motion.offset, 1 / 8), (motion.travel, 1 / 4), (motion.log_scale, math.log(1.25))):
        assert drawn.abs().max() <= bound
        assert drawn.min() < -0.99 * bound
        assert drawn.max() > 0.99 * bound
    assert not torch.equal(motion.offset, draw_motion(5000, 1).offset)


def test_the_square_covers_half_of_the_frames() -> None:
    """A run of ceil(T/2) frames, at every place it can begin."""
    white = torch.full((400, 8, 8, 3), 255, dtype=torch.uint8)
    start = torch.rand(400, generator=torch.Generator().manual_seed(0))
    clips = render_clips(white, still(400, start=start), 7)
    covered = (clips == 0).any(-1).any(-1).any(-1)  # (n, T)
    assert (covered.sum(1) == 4).all()
    assert set(covered.int().argmax(1).tolist()) == {0, 1, 2, 3}
    assert ((clips == 0).all(-1).sum((1, 2, 3)) == 4 * 16).all()


def test_cluttered_digits(tmp_path: Path) -> None:
    """20x20, grey on black, no crop and no flip, labels and parts of the digits, the same at every call."""
    cluttered_digits, digits = load(tmp_path, name="cluttered"), load(tmp_path)
    assert cluttered_digits.size == (20, 20)
    assert (cluttered_digits.pad, cluttered_digits.flip) == (0, False)
    assert torch.equal(cluttered_digits.train.labels, digits.train.labels)
    assert cluttered_digits.digest == load(tmp_path, name="cluttered").digest
    assert cluttered_digits.digest != load(tmp_path, name="cluttered", image_size=24).digest


def test_canvas_and_pieces_as_in_the_paper() -> None:
    """28 -> 60 and 8 (Mnih et al. 2014); in proportion for 8x8 digits."""
    assert (cluttered.compute_canvas_side(28), cluttered.compute_piece_side(28)) == (60, 8)
    assert (cluttered.compute_canvas_side(8), cluttered.compute_piece_side(8)) == (20, 3)


def test_rendering_equals_the_slow_way() -> None:
    """Digit and pieces are at the places of the scene; if they overlap, the brighter value wins."""
    random = torch.Generator().manual_seed(0)
    pool = torch.randint(0, 256, (20, 8, 8), dtype=torch.uint8, generator=random)
    scene = cluttered.draw_scene(20, 20, 8, 20, "train")
    got = cluttered.render_scenes(pool, scene, pool, 20).numpy()
    for i in range(20):
        expected = np.zeros((20, 20), np.uint8)
        y, x = scene.digit_corner[i].tolist()
        expected[y : y + 8, x : x + 8] = pool[i]
        for other, (cy, cx), (y, x) in zip(
            scene.piece_sources[i], scene.cut_corner[i].tolist(), scene.put_corner[i].tolist(), strict=True
        ):
            piece = pool[other, cy : cy + 3, cx : cx + 3].numpy()
            expected[y : y + 3, x : x + 3] = np.maximum(expected[y : y + 3, x : x + 3], piece)
        assert np.array_equal(got[i], expected)


def test_places_are_uniform_and_pieces_are_of_others() -> None:
    """Every place on the canvas comes up, up to the edges; no training image holds a piece of itself."""
    scene = cluttered.draw_scene(3000, 3000, 8, 20, "train")
    assert set(scene.digit_corner.flatten().tolist()) == set(range(13))
    assert set(scene.put_corner.flatten().tolist()) == set(range(18))
    assert set(scene.cut_corner.flatten().tolist()) == set(range(6))
    assert not (scene.piece_sources == torch.arange(3000)[:, None]).any()
    assert scene.piece_sources.min() >= 0
    assert scene.piece_sources.max() < 3000


@pytest.mark.parametrize("canvas", [8, 32])
def test_canvas_of_the_recipe(tmp_path: Path, canvas: int) -> None:
    """image_size is the side of the canvas; the digit keeps its size."""
    assert load(tmp_path, name="cluttered", image_size=canvas).train.images.shape[1:] == (3, canvas, canvas)
