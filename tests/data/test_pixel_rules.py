"""What a network sees of transparent, 16-bit and turned images; shown in another way they have another digest."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.images.decode import Target, decode_image, read_image_size
from attncli.data.images.pixel_rules import PixelRules
from attncli.data.verify import VerificationReport
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise, of_folder

Painter = Callable[[int], Image.Image]


def paint_folder(root: Path, paint: Painter, each: int = 2, suffix: str = "png", **options: object) -> Path:
    """Two splits of two classes; `paint(number)` makes each image."""
    number = 0
    for split in ("train", "test"):
        for name in ("a", "b"):
            for i in range(each):
                path = root / split / name / f"{i}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                paint(number).save(path, **options)
                number += 1
    return root


def load(root: Path, **keys: object) -> Dataset:
    """Load the folder, nothing held out."""
    return data.load(of_folder(root, val_fraction=0.0, **keys), cache=root.parent / "cache")


def verify(root: Path, **keys: object) -> VerificationReport:
    """Verify the folder."""
    return data.verify_dataset(of_folder(root, **keys))


def paint_cut_out(number: int) -> Image.Image:
    """A white square on nothing; what nobody sees is red in the first class and black in the second."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 255 * (number // 2 % 2)
    pixels[1 + number % 2 : 4 + number % 2, 2:5] = 255
    return Image.fromarray(pixels)


def test_hidden_colours_are_not_seen(tmp_path: Path) -> None:
    """Cut-outs whose hidden colours tell their class look alike; the background is a key, and part of the digest."""
    root = paint_folder(tmp_path / "x", paint_cut_out)
    dataset = load(root)
    assert (dataset.train.images == 255).all()
    black = load(root, background="#000000")
    assert np.array_equal(black.train.images[0].numpy(), black.train.images[2].numpy())
    assert int(black.train.images[0].sum()) == 9 * 3 * 255
    assert black.digest != dataset.digest
    assert any("transparency: 8," in note and "#ffffff" in note for note in dataset.notes)
    assert any("transparency: 8," in remark for remark in verify(root).remarks)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_each_kind_of_transparency(tmp_path: Path, mode: str) -> None:
    """Half-transparent black on white is grey, and a transparent entry of a palette is white."""
    path, rules = tmp_path / "x.png", PixelRules(background=(255, 255, 255))
    if mode == "P":
        Image.new("RGB", (4, 4), (10, 20, 30)).quantize(4).save(path, transparency=bytes([0, 255, 255, 255]))
        expected = 255
    else:
        Image.new("RGBA", (4, 4), (0, 0, 0, 128)).convert(mode).save(path)
        expected = 127
    decoded = decode_image(path, Target(4, 4), rules)
    assert (decoded.pixels == expected).all()
    assert "alpha" in decoded.traits


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_sixteen_bit_images_use_their_own_range(tmp_path: Path, bits: int) -> None:
    """The bits that the training images use are read, whatever the order of the files; a test image may exceed them."""
    top = 2**bits - 1
    values = [top // 5, top // 3, top // 2, top, top, min(65535, 2 * top), 0, 1]
    gradient = np.linspace(0, 1, 64).reshape(8, 8)
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray((values[n] * gradient).astype(np.uint16)))
    dataset = load(root)
    assert dataset.train.images[3].max() == 255
    expected = [(value >> (bits - 8)) for value in values[:4]]
    assert dataset.train.images.amax((1, 2, 3)).tolist() == expected
    assert dataset.test.images[1].max() == 255
    assert any(f"16 bits: 8, 0 is black, {top} white" in note for note in dataset.notes)
    again = load(root)
    assert (again.digest, again.notes) == (dataset.digest, dataset.notes)
    assert any(f"{top} white" in remark for remark in verify(root).remarks)


def test_values_beyond_the_range_and_frames_that_are_not_shown(tmp_path: Path) -> None:
    """Values that the training images do not reach, and frames after the first, are counted in notes."""
    values = [100, 200, 150, 90, 300, 100, 255, 400]
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray((np.eye(8) * values[n]).astype(np.uint16)))
    for notes in (load(root).notes, verify(root).remarks):
        assert any("outside of data.grey_range: 2," in note for note in notes)
    frames = [Image.fromarray(noise(number)) for number in range(10, 18)]
    for suffix in ("gif", "tif", "webp", "png"):
        more = {"save_all": True, "append_images": [Image.fromarray(noise(99))]}
        notes = load(paint_folder(tmp_path / suffix, lambda n: frames[n], 2, suffix, **more)).notes
        assert any("several frames or pages: 8," in note for note in notes)


def test_the_range_is_a_key(tmp_path: Path) -> None:
    """[100, 300] makes 100 black, 200 grey and 300 white; it is needed for 32 bits per pixel."""
    values = [100, 200, 300, 400]
    paint = [Image.fromarray(np.full((4, 4), v, np.uint16)) for v in values]
    root = paint_folder(tmp_path / "x", lambda n: paint[n % 4])
    dataset = load(root, grey_range=[100.0, 300.0])
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 128, 255, 255]
    assert dataset.digest != load(root).digest
    floats = [Image.fromarray(np.full((4, 4), v / 1000, np.float32)) for v in values]
    root = paint_folder(tmp_path / "y", lambda n: floats[n % 4], suffix="tif")
    with pytest.raises(UserError, match=r"data\.grey_range"):
        load(root)
    dataset = load(root, grey_range=[0.0, 0.4])
    assert dataset.train.images[:, 0, 0, 0].tolist() == [64, 128, 191, 255]


def test_the_full_range_of_32_bits_can_be_given(tmp_path: Path) -> None:
    """[0, 65535] is a range as any other; without one the values have no scale, in `verify` too."""
    values = [0, 21845, 65535, 70000]
    paint = [Image.fromarray(np.full((4, 4), value, np.int32)) for value in values]
    root = paint_folder(tmp_path / "x", lambda n: paint[n % 4], suffix="tif")
    with pytest.raises(UserError, match=r"data\.grey_range"):
        load(root)
    assert any("data.grey_range" in problem for problem in verify(root).problems)
    full = {"grey_range": [0.0, 65535.0]}
    dataset = load(root, **full)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 85, 255, 255]
    assert any("outside of data.grey_range: 2," in note for note in dataset.notes)
    assert not any("data.grey_range" in problem for problem in verify(root, **full).problems)
    with pytest.raises(ValueError, match="no known scale"):  # as of a published dataset
        decode_image(root / "train/a/0.tif", Target(4, 4))


def encode_deep_png(values: np.ndarray) -> bytes:
    """A PNG of (H, W, 3) values of 16 bits, which Pillow cannot write."""

    def make_chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = make_chunk(b"IHDR", header) + make_chunk(b"IDAT", zlib.compress(rows)) + make_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_colours_of_sixteen_bits_are_said(tmp_path: Path) -> None:
    """Of each colour the upper 8 bits are read: values below 256 are black, which is said and warned about."""
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray(noise(n)))
    pixels = np.full((8, 8, 3), 200)
    (root / "train/a/0.png").write_bytes(encode_deep_png(pixels))
    (root / "train/a/1.png").write_bytes(encode_deep_png(pixels << 8))
    dataset = load(root)
    assert dataset.train.images[:2].amax((1, 2, 3)).tolist() == [0, 200]
    assert any("colour images of 16 bits: 2," in note for note in dataset.notes)
    assert any("images of one colour: 2," in warning for warning in dataset.warnings)
    assert any("colour images of 16 bits: 2," in remark for remark in verify(root).remarks)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_is_followed(tmp_path: Path, orientation: int, suffix: str) -> None:
    """A picture that was stored in each of the eight ways comes out upright, with its own size."""
    upright = Image.fromarray(noise(1, (6, 4)))
    undo = [None, 0, 3, 1, 5, 2, 6, 4][orientation - 1]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    stored.save(path, exif=exif)
    rules = PixelRules(follows_orientation=True)
    assert read_image_size(path, rules) == (4, 6)
    assert np.array_equal(decode_image(path, Target(4, 6, like="x"), rules).pixels, np.asarray(upright))


def test_turned_images_are_counted_and_another_dataset(tmp_path: Path) -> None:
    """Following orientation is the default; ignoring it is a key. Whole images for crops have another digest too."""
    exif = Image.Exif()
    exif[0x0112] = 3
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray(noise(n)), exif=exif)
    followed, ignored = load(root), load(root, orientation="ignore")
    assert np.array_equal(followed.train.images[0].numpy(), noise(0)[::-1, ::-1].transpose(2, 0, 1))
    assert np.array_equal(ignored.train.images[0].numpy(), noise(0).transpose(2, 0, 1))
    assert any("orientation says: 8 " in note for note in followed.notes)
    assert ignored.notes == ()
    digests = [
        load(root, image_size=4, crop="resized", orientation=value, decoded=decoded).digest
        for value in ("follow", "ignore")
        for decoded in (True, False)
    ]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_plain_images_keep_their_digest(tmp_path: Path) -> None:
    """Images without transparency, 16 bits or orientation have the digest that they had before these rules."""
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray(noise(n)))
    digests = [load(root, **keys).digest[:12] for keys in ({}, {"crop": "resized", "image_size": 4})]
    assert digests == ["d9dcf69cf321", "a14bb2160d6a"]


@pytest.mark.parametrize(
    "keys", [{"background": "whitish"}, {"grey_range": [5.0, 5.0]}, {"grey_range": [1.0]}, {"grey_range": [9.0, 1.0]}]
)
def test_wrong_rules_are_refused(tmp_path: Path, keys: dict[str, object]) -> None:
    """A colour or range that is none is named with its key."""
    root = paint_folder(tmp_path / "x", lambda n: Image.fromarray(noise(n)))
    with pytest.raises(UserError) as caught:
        load(root, **keys)
    assert f"data.{next(iter(keys))}" in caught.value.problem


def test_published_images_are_shown_as_by_imagefolder() -> None:
    """Their pixels, and so their digests, stay as they were."""
    from attncli.data.images.pixel_rules import PLAIN_RULES, choose_pixel_rules

    assert choose_pixel_rules(Data(name="imagenet")) == PLAIN_RULES
    assert choose_pixel_rules(Data(name="imagenet", orientation="follow")).follows_orientation
    own = choose_pixel_rules(Data(name="clips", of="folder"))
    assert own == PixelRules(background=(255, 255, 255), grey_range=None, follows_orientation=True)
