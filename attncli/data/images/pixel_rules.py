"""How the values in image files become the 8-bit colours that a network sees: transparency, 16 bits, orientation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.recipe import Data

ALPHA, DEEP, TURNED, PLAIN_COLOUR = "alpha", "deep", "turned", "plain colour"  # traits of images
DEEP_COLOUR = "deep colour"  # 16 bits for each of red, green and blue, of which Pillow reads the upper 8
FRAMES = "frames"  # several frames or pages
OUTSIDE = "outside"  # values outside of the range of grey
FULL_RANGE = (0.0, 65535.0)
DEFAULT_BACKGROUND = "white"
DEFAULT_MAX_PIXELS = 178_956_970  # Pillow's own limit against files that unpack to more than the memory
ORIENTATION_TAG = 0x0112  # of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange height and width


class DeepGreyError(Exception):
    """A 16-bit grey image, but nobody knows yet which values it holds."""


@dataclass(frozen=True)
class PixelRules:
    """The choices for one dataset; the default is what torchvision's ImageFolder does.

    background: the colour behind transparent images; None drops the transparency and shows hidden colours.
    grey_range: the values of 16-bit grey images that become black and white; None if they must be read first.
    follows_orientation: whether images are turned as EXIF's orientation says.
    max_pixels: the largest image that is decoded.
    refuses_32_bits: whether grey_range is no range for 32 bits per pixel, as it is the default of published images.
    """

    background: tuple[int, int, int] | None = None
    grey_range: tuple[float, float] | None = FULL_RANGE
    follows_orientation: bool = False
    max_pixels: int = field(default=DEFAULT_MAX_PIXELS, repr=False)  # no part of cache keys: it changes no pixel
    refuses_32_bits: bool = field(default=False, repr=False, compare=False)  # no part either: such images are an error


PLAIN_RULES = PixelRules(refuses_32_bits=True)


def choose_pixel_rules(data: Data) -> PixelRules:
    """Return the rules of a recipe: by default those of `PixelRules` for published images, better ones for others.

    Raises UserError for a colour or a range that is none.
    """
    is_published = not any(has_origin(name, "user", "hub") for name in (data.name, data.of))
    background = data.background or (None if is_published else DEFAULT_BACKGROUND)
    grey_range = _check_grey_range(data.grey_range)
    return PixelRules(
        background=None if background is None else _parse_colour(background),
        grey_range=FULL_RANGE if grey_range is None and is_published else grey_range,
        follows_orientation=not is_published if data.orientation == "auto" else data.orientation == "follow",
        max_pixels=DEFAULT_MAX_PIXELS if data.max_pixels is None else data.max_pixels,
        refuses_32_bits=grey_range is None and is_published,
    )


def convert_to_rgb(image: Image.Image, rules: PixelRules) -> Image.Image:
    """Return an opened image in RGB and the right way up.

    Raises:
        DeepGreyError: for a 16-bit grey image without `rules.grey_range`.
        ValueError: for 32 bits per pixel, as Pillow also reads PGM of 16 bits, without a range.
    """
    turn = _find_turn(image, rules)
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
    elif image.mode.startswith("I;16"):
        image = _convert_deep_grey(np.asarray(image), rules.grey_range)
    elif image.mode in ("I", "F"):
        if rules.grey_range is None or rules.refuses_32_bits:
            raise ValueError(f"grey of mode {image.mode} has no known scale; data.grey_range=[LOW,HIGH] gives one")
        image = _scale_grey(np.asarray(image), *rules.grey_range)
    elif _has_alpha(image) and rules.background is not None:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*rules.background, 255))
        image = Image.alpha_composite(ground, image).convert("RGB")
    else:
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
    return image if turn is None else image.transpose(turn)


def find_traits(image: Image.Image, rules: PixelRules) -> set[str]:
    """Return the traits that the header of an opened image tells: ALPHA, DEEP, DEEP_COLOUR, TURNED, FRAMES.

    Raises DeepGreyError as `convert_to_rgb` does.
    """
    is_deep = image.mode.startswith("I;16")
    if is_deep and rules.grey_range is None:
        raise DeepGreyError
    has_deep_colours = _has_deep_colours(image)  # before EXIF is read, which may load the image
    turn = _find_turn(image, rules)
    return {
        trait
        for trait, is_present in (
            (ALPHA, _has_alpha(image)),
            (DEEP, is_deep),
            (DEEP_COLOUR, has_deep_colours),
            (TURNED, turn is not None),
            (FRAMES, _has_frames(image)),
        )
        if is_present
    }


def exceeds_range(image: Image.Image, rules: PixelRules) -> bool:
    """Return whether an image of deep grey has values that `rules.grey_range` makes black or white with others."""
    is_deep = image.mode.startswith("I;16") or image.mode in ("I", "F")
    if not is_deep or rules.grey_range is None:
        return False
    values, (low, high) = np.asarray(image), rules.grey_range
    return bool(values.min() < low or values.max() > high)


def is_plain_colour(pixels: NDArray[np.uint8]) -> bool:
    """Return whether all pixels of an image (H, W, 3) are equal."""
    first = pixels[0, 0]
    return bool((pixels[0] == first).all() and (pixels == first).all())


def measure_upright_size(image: Image.Image, rules: PixelRules) -> tuple[int, int]:
    """Return (H, W) of an opened image, the right way up."""
    is_sideways = rules.follows_orientation and _read_orientation(image) in SIDEWAYS
    return (image.width, image.height) if is_sideways else (image.height, image.width)


def find_largest_deep_value(image: Image.Image) -> int | None:
    """Return the largest value of a 16-bit grey image, or None for other images."""
    return int(np.asarray(image).max()) if image.mode.startswith("I;16") else None


def choose_grey_range(largest: Iterable[int]) -> tuple[float, float]:
    """Return the range of the fewest bits, 8 to 16, that hold the largest values of all images."""
    top = max(largest, default=0)
    return 0.0, float(next(2**bits - 1 for bits in (8, 10, 12, 14, 16) if top < 2**bits))


def format_rules(rules: PixelRules, counts: Mapping[str, int]) -> str:
    """Return what a digest of files has to add, because images are shown in another way than by ImageFolder."""
    words = []
    if counts.get(ALPHA) and rules.background is not None:
        words.append(f"/background {rules.background}")
    if counts.get(DEEP) and rules.grey_range != FULL_RANGE:
        words.append(f"/grey {rules.grey_range}")
    if counts.get(TURNED):
        words.append("/turned")
    return "".join(words)


def describe_traits(rules: PixelRules, counts: Mapping[str, int]) -> list[str]:
    """Return one line per trait that some images have, for the user."""
    lines = []
    if counts.get(ALPHA):
        shown = (
            "which is dropped" if rules.background is None else "shown on #{:02x}{:02x}{:02x}".format(*rules.background)
        )
        lines.append(f"images with transparency: {counts[ALPHA]:,}, {shown} (data.background)")
    if counts.get(DEEP) and rules.grey_range is not None:
        low, high = rules.grey_range
        lines.append(f"images of 16 bits: {counts[DEEP]:,}, {low:g} is black, {high:g} white (data.grey_range)")
    if counts.get(OUTSIDE):
        lines.append(f"images with values outside of data.grey_range: {counts[OUTSIDE]:,}, shown as black or white")
    if counts.get(FRAMES):
        lines.append(f"images of several frames or pages: {counts[FRAMES]:,}, only the first is shown")
    if counts.get(DEEP_COLOUR):
        lines.append(f"colour images of 16 bits: {counts[DEEP_COLOUR]:,}, only the upper 8 bits are read")
    if counts.get(TURNED):
        lines.append(f"images turned as their EXIF orientation says: {counts[TURNED]:,} (data.orientation)")
    return lines


def _find_turn(image: Image.Image, rules: PixelRules) -> Image.Transpose | None:
    return TURNS.get(_read_orientation(image)) if rules.follows_orientation else None


def _read_orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 if there is none, it cannot be read, or Pillow turns the image (TIFF)."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF data, which does not make the pixels unreadable
        return 1
    return value if isinstance(value, int) else 1


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _has_frames(image: Image.Image) -> bool:
    """Return whether an image has several frames or pages; the previews in photographs (MPO) are none."""
    if image.format not in ("GIF", "TIFF", "WEBP", "PNG"):
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damaged frames after the first, which is the one that is shown
        return False


def _has_deep_colours(image: Image.Image) -> bool:
    """Return whether an image that is not loaded yet has 16 bits per colour in its file."""
    tiles = getattr(image, "tile", ())
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in tiles)


def _convert_deep_grey(values: NDArray[np.uint16], grey_range: tuple[float, float] | None) -> Image.Image:
    if grey_range is None:
        raise DeepGreyError
    low, high = grey_range
    bits = int(high + 1).bit_length() - 1
    if low == 0 and high == 2**bits - 1 and 8 <= bits <= 16:  # cut off the low bits, as is usual
        grey = np.minimum(values, int(high)) >> (bits - 8)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return _scale_grey(values, low, high)


def _scale_grey(values: NDArray[np.generic], low: float, high: float) -> Image.Image:
    share = (values.astype(np.float64) - low) / (high - low)
    return Image.fromarray(np.rint(255 * np.nan_to_num(share).clip(0, 1)).astype(np.uint8)).convert("RGB")


def _parse_colour(text: str) -> tuple[int, int, int]:
    try:
        colour = ImageColor.getrgb(text)
    except ValueError as error:
        raise UserError(
            f"data.background: {text}: no such colour", "a name such as white, black or gray, or #rrggbb"
        ) from error
    return colour[0], colour[1], colour[2]


def _check_grey_range(grey_range: list[float] | None) -> tuple[float, float] | None:
    if grey_range is None:
        return None
    if len(grey_range) != 2 or not grey_range[0] < grey_range[1] < float("inf"):
        raise UserError(
            f"data.grey_range: {grey_range}: not a range", "[LOW, HIGH], the values that become black and white"
        )
    return grey_range[0], grey_range[1]
