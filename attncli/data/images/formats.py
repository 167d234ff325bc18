"""What a file that Pillow cannot read really is: a format it lacks, or no image at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from attncli.data.images.pixel_rules import PixelRules
from attncli.system.failed_downloads import HEAD_BYTES, identify_failed_download

CONVERT = "convert it to JPEG or PNG"
BRANDS = {
    "HEIC": (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
    "a camera's raw file": (b"crx ",),
}
SIGNATURES = {
    f"JPEG XL, which Pillow lacks: {CONVERT}": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL "),
    f"a camera's raw file: {CONVERT}": (b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR"),
    f"OpenEXR: {CONVERT}": (b"v/1\x01",),
    f"Radiance HDR: {CONVERT}": (b"#?RADIANCE", b"#?RGBE"),
    f"a TIFF or raw file that is broken, or has bands or bits that Pillow lacks: {CONVERT}": (
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"MM\0+",
    ),
    "a PDF": (b"%PDF",),
    f"SVG, a drawing: {CONVERT}": (b"<svg",),
    "an archive": (b"PK\x03\x04", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf"),
    "a video": (b"\x1aE\xdf\xa3",),
    "a NumPy array": (b"\x93NUMPY",),
    "an HDF5 file": (b"\x89HDF",),
    "a text": (b"<?xml", b"{", b"["),
}


@contextmanager
def open_image(path: Path | BinaryIO, rules: PixelRules) -> Iterator[Image.Image]:
    """Open an image file; only its header is read.

    Raises:
        ValueError: for what Pillow cannot read, with what it is, or an image with more pixels than the rules allow.
        Exception: what Pillow raises for a broken file.
    """
    Image.MAX_IMAGE_PIXELS = None  # the limit is that of the rules, below
    try:
        image = Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(identify_format(_read_head(path))) from error
    with image:
        if image.width * image.height > rules.max_pixels:
            raise ValueError(
                f"{image.width} x {image.height} pixels, more than data.max_pixels={rules.max_pixels}; "
                "a larger value allows it"
            )
        yield image


def identify_format(head: bytes) -> str:
    """Return what a file is by its first bytes, in words that follow its name in an error."""
    if failure := identify_failed_download(head):
        return failure
    if head[4:8] == b"ftyp":
        brand = next((name for name, brands in BRANDS.items() if head[8:12] in brands), None)
        return f"{brand}, which Pillow lacks: {CONVERT}" if brand else "a video"
    if head[128:132] == b"DICM":
        return f"DICOM: {CONVERT}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for name, signatures in SIGNATURES.items():
        if start.startswith(signatures):
            return name
    return "not an image"


def _read_head(path: Path | BinaryIO) -> bytes:
    if isinstance(path, Path):
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    path.seek(0)
    return path.read(HEAD_BYTES)
