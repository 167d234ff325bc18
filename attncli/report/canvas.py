"""A white picture on which rectangles and texts are placed in inches from its upper left corner.

matplotlib draws the figures with axes. Not these, which every run makes: they were half of the work of a short
run in a sweep. A confusion matrix of ten classes takes 0.05 s in place of 0.25 s (AMD EPYC Zen 3, median of seven).
Texts are in the font of the other figures.
"""

import importlib.util
import io
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from attncli.palette import INK
from attncli.system.files import write_atomically

DPI = 160
FAST_COMPRESSION = 1  # of PNG files, 0 to 9: the default of 6 took a seventh of the time of drawing
EDGE, GAP, LINE = 0.06, 0.1, 0.2  # inches: to the edge of a picture, between texts, the height of a line
Box = tuple[float, float, float, float]  # left, upper, right and lower edge, in inches


class Canvas:
    """A picture of `width` by `height` inches; `texts` lists what was written, and where."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.texts: list[tuple[str, Box]] = []
        self.image = Image.new("RGB", (round(width * DPI), round(height * DPI)), "white")
        self._draw = ImageDraw.Draw(self.image)

    def fill(self, box: Box, colour: str) -> None:
        """Fill a rectangle; one of no width or height becomes a line of one pixel."""
        left, upper, right, lower = (round(edge * DPI) for edge in box)
        self._draw.rectangle((left, upper, max(left, right - 1), max(upper, lower - 1)), fill=colour)

    def paste(self, picture: Image.Image, box: Box) -> None:
        """Stretch a small picture over a rectangle, pixel by pixel."""
        left, upper, right, lower = (round(edge * DPI) for edge in box)
        size = right - left, lower - upper
        is_smaller = size[0] < picture.width or size[1] < picture.height
        way = Image.Resampling.BOX if is_smaller else Image.Resampling.NEAREST
        self.image.paste(picture.resize(size, way), (left, upper))

    def write(
        self,
        text: str,
        x: float,
        y: float,
        points: float,
        *,
        anchor: str = "lm",
        colour: str = INK,
        bold: bool = False,
        angle: int = 0,
    ) -> None:
        """Write a line of text.

        Args:
            text: one line.
            x: inches from the left edge.
            y: inches from the upper edge.
            points: size of the font.
            anchor: which point of the text is at (x, y), as Pillow names them: `l`, `m` or `r`, then `t`, `m`, `b`. Of
                a turned text it is a point of the box around it.
            colour: of the text.
            bold: whether it is bold.
            angle: degrees by which it is turned anticlockwise.
        """
        if not text:
            return
        font = choose_font(text, points, bold=bold)
        if angle:
            self._write_turned(text, x, y, font, anchor, colour, angle)
            return
        place, vertical = (x * DPI, y * DPI), {"t": "a", "m": "m", "b": "d"}[anchor[1]]
        self._draw.text(place, text, font=font, fill=colour, anchor=anchor[0] + vertical)
        self._note(text, self._draw.textbbox(place, text, font=font, anchor=anchor[0] + vertical))

    def _write_turned(
        self, text: str, x: float, y: float, font: ImageFont.FreeTypeFont, anchor: str, colour: str, angle: int
    ) -> None:
        left, upper, right, lower = font.getbbox(text, anchor="ls")
        mask = Image.new("L", (int(right - left) + 2, int(lower - upper) + 2))
        ImageDraw.Draw(mask).text((1 - left, 1 - upper), text, font=font, fill=255, anchor="ls")
        turned = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        turned = turned.crop(turned.getbbox())
        shares = {"l": 0.0, "t": 0.0, "m": 0.5, "r": 1.0, "b": 1.0}
        first = round(x * DPI - shares[anchor[0]] * turned.width)
        top = round(y * DPI - shares[anchor[1]] * turned.height)
        self.image.paste(Image.new("RGB", turned.size, colour), (first, top), turned)
        self._note(text, (first, top, first + turned.width, top + turned.height))

    def _note(self, text: str, pixels: tuple[float, float, float, float]) -> None:
        left, upper, right, lower = (edge / DPI for edge in pixels)
        self.texts.append((text, (left, upper, right, lower)))

    def save(self, path: Path) -> None:
        """Write a PNG file, in one step."""
        information = PngInfo()
        information.add_text("Software", "attncli")
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG", compress_level=FAST_COMPRESSION, pnginfo=information, dpi=(DPI, DPI))
        write_atomically(path, buffer.getvalue())


def measure_text(text: str, points: float) -> float:
    """Return the width of a line of text, in inches."""
    return float(choose_font(text, points).getlength(text)) / DPI if text else 0.0


def choose_font(text: str, points: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of all figures, or another one of the machine if that has not all characters of the text."""
    if not text.isascii():
        from attncli.report import fonts  # loads matplotlib

        if (file := fonts.find_fallback_file(text)) is not None:
            return _load_font(file, points)
    return _load_font(_find_main_font(bold), points)


@cache
def _load_font(file: str, points: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, points * DPI / 72)


@cache
def _find_main_font(bold: bool) -> str:
    """Return the file of DejaVu Sans, which comes with matplotlib, without loading that."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / f"mpl-data/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf")
