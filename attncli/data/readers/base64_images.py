"""Images in base64, as some tables hold them in a column of texts, with or without `data:image/png;base64,` before."""

import base64
import binascii
import re

IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")
LEAST_LETTERS = 64  # of an image in base64; shorter texts are paths
DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
BASE64_HINT = "images in base64 are read from a Parquet table: pandas.read_csv(FILE).to_parquet('train.parquet')"


def is_base64_image(text: str) -> bool:
    """Return whether a text begins as the content of an image file in base64 does."""
    start = _strip_address(text)[:LEAST_LETTERS]
    return len(start) == LEAST_LETTERS and _decode(start).startswith(IMAGE_STARTS)


def decode_base64_image(text: str) -> bytes | None:
    """Return the content of an image file that a text holds in base64, or None if the text is something else."""
    return _decode("".join(_strip_address(text).split())) or None if is_base64_image(text) else None


def _strip_address(text: str) -> str:
    """Return a text without the beginning of a data URL."""
    start = DATA_URL.match(text)
    return text[start.end() :] if start else text


def _decode(text: str) -> bytes:
    """Return the bytes of a text in base64, none if it is not of that form."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
