"""Random crop and flip, compared with a slow implementation image by image."""

import numpy as np
import pytest
import torch
from torch import Tensor

from attncli.data.augmentation.crop_flip import CropFlipDraw, Normaliser, crop_and_flip, draw_crop_flip, gather_rows

CPU = torch.device("cpu")


def images(n: int = 7, frames: int = 1, height: int = 6, width: int = 5) -> Tensor:
    """Return images (n, T, H, W, 3), uint8, without zeros, so that padding can be recognised."""
    random = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (n, frames, height, width, 3), generator=random, dtype=torch.uint8)


def slow(image: np.ndarray, y: int, x: int, flip: bool, pad: int) -> np.ndarray:
    """One image (T, H, W, 3): mirrored, padded, cropped."""
    height, width = image.shape[1:3]
    if flip:
        image = image[:, :, ::-1]
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return padded[:, y : y + height, x : x + width]


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("pad", [0, 1, 4, 9])
@pytest.mark.parametrize("flip", [False, True])
def test_equals_the_slow_implementation(frames: int, pad: int, flip: bool) -> None:
    """Every image of a batch, still or clip, square or not, is exactly what pad, mirror and crop one by one give."""
    source, rows = images(frames=frames), torch.tensor([3, 0, 6, 6, 2, 1, 5, 4, 3])
    drawn = draw_crop_flip(len(rows), pad, flip, seed=3)
    got = crop_and_flip(source, rows, drawn, pad, CPU)
    expected = [
        slow(source[r].numpy(), int(y), int(x), bool(f), pad)
        for r, y, x, f in zip(rows, drawn.y, drawn.x, drawn.flip, strict=True)
    ]
    assert np.array_equal(got.numpy(), np.stack(expected))


@pytest.mark.parametrize("flips", [[True] * 3, [False] * 3, [True, False, True]])
def test_all_none_and_some_mirrored(flips: list[bool]) -> None:
    """A batch that is mirrored completely, partly or not at all keeps its order."""
    source, rows = images(3), torch.arange(3)
    middle = torch.full((3,), 2)
    got = crop_and_flip(source, rows, CropFlipDraw(middle, middle, torch.tensor(flips)), 2, CPU)
    for image, out, flip in zip(source, got, flips, strict=True):
        assert torch.equal(out, image.flip(-2) if flip else image)


def test_images_are_left_as_they_are() -> None:
    """Augmentation never writes into the dataset."""
    source = images()
    before = source.clone()
    crop_and_flip(source, torch.arange(7), draw_crop_flip(7, 2, True, 0), 2, CPU).zero_()
    assert torch.equal(source, before)


def test_planes_first_memory_gives_the_same() -> None:
    """Images stored with the colour planes first are cropped to the same values."""
    source = images()
    other = source.movedim(-1, -3).contiguous().movedim(-3, -1)
    rows, drawn = torch.arange(7), draw_crop_flip(7, 2, True, 0)
    assert torch.equal(crop_and_flip(source, rows, drawn, 2, CPU), crop_and_flip(other, rows, drawn, 2, CPU))


def test_offsets_and_flips_are_uniform() -> None:
    """All (2 pad + 1)^2 offsets are equally frequent, flips are too, all independent (5 standard errors)."""
    n = 50_000
    drawn = draw_crop_flip(n, 2, True, seed=0)
    cells = (drawn.y * 5 + drawn.x).bincount(minlength=25).double() / n
    assert (cells - 1 / 25).abs().max() < 5 * (1 / 25 / n) ** 0.5
    assert abs(drawn.flip.double().mean() - 0.5) < 5 * 0.5 / n**0.5
    both = torch.corrcoef(torch.stack([drawn.y.double(), drawn.x.double(), drawn.flip.double()]))
    assert (both - torch.eye(3)).abs().max() < 5 / n**0.5


def test_draws_differ_within_a_batch_and_between_seeds() -> None:
    """Each image has its own offset; another seed draws others, the same seed the same."""
    a, b, again = draw_crop_flip(64, 4, True, 1), draw_crop_flip(64, 4, True, 2), draw_crop_flip(64, 4, True, 1)
    assert len(set(zip(a.y.tolist(), a.x.tolist(), strict=True))) > 30
    assert not torch.equal(a.y, b.y)
    assert torch.equal(a.y, again.y)
    assert torch.equal(a.x, again.x)
    assert torch.equal(a.flip, again.flip)


def test_crops_do_not_depend_on_flipping() -> None:
    """Turning flips on or off leaves the offsets as they are."""
    on, off = draw_crop_flip(64, 4, True, 1), draw_crop_flip(64, 4, False, 1)
    assert torch.equal(on.y, off.y)
    assert torch.equal(on.x, off.x)
    assert not off.flip.any()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("clips", [False, True])
def test_normalised_values_and_memory(channels_last: bool, clips: bool) -> None:
    """(x / 255 - mean) / std in float32, planes first in shape, laid out in memory as asked."""
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    source = images(frames=2 if clips else 1)
    normalise = Normaliser(mean, std, 5, clips=clips, channels_last=channels_last, device=CPU)
    y = normalise(source)
    expected = (source.double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    expected = expected.movedim(-1, -3) if clips else expected[:, 0].movedim(-1, -3)
    assert y.dtype is torch.float32
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=2e-6)
    still = y.flatten(0, 1) if clips else y
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert still.is_contiguous(memory_format=layout)
    assert still.data_ptr() == y.data_ptr()  # folding frames into the batch copies nothing


def test_gather_takes_rows_in_order() -> None:
    """Rows come in the order asked for, the same one twice if need be."""
    source = images()
    rows = torch.tensor([2, 2, 0])
    assert torch.equal(gather_rows(source, rows, CPU), source[rows])
