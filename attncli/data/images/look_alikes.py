"""Find images that look alike although their pixels differ: copies that were saved again, resized or compressed.

Each image has a difference hash of 64 bits (is a pixel of its 9 x 8 grey version darker than the next one?) and a
thumbnail of 16 x 16 pixels. Images with nearly the same hash are compared by their thumbnails.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attncli.data.images.arrays import ImagePixels

THUMBNAIL_SIDE = 16
MAX_HASH_BITS = 6  # that may differ
MAX_MEAN, MAX_VALUE = 3, 16  # differences of the thumbnails, in levels of 255
MIN_CONTRAST = 8  # standard deviation of a thumbnail; images of one tone all look alike
BANDS = 4  # parts of the hash; copies agree in at least one
NEIGHBOURS = 8  # images compared with each one in every band


class Sketch(NamedTuple):
    """What is kept of an image to compare it: its hash as one number, its thumbnail (16, 16, 3)."""

    hash: int
    thumbnail: ImagePixels


def sketch_image(pixels: ImagePixels) -> Sketch:
    """Return hash and thumbnail of an image (h, w, 3)."""
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR)).astype(np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    return Sketch(int.from_bytes(bits.tobytes(), "big"), thumbnail)


def find_look_alikes(sketches: Sequence[Sketch]) -> list[tuple[int, int]]:
    """Return the pairs (first, second) of images that look alike, first < second, in rising order."""
    if len(sketches) < 2:
        return []
    hashes = np.array([sketch.hash for sketch in sketches], dtype=np.uint64)
    thumbnails = np.stack([sketch.thumbnail for sketch in sketches])
    is_textured = thumbnails.std(axis=(1, 2, 3)) >= MIN_CONTRAST
    pairs = set()
    for first, second in _list_candidates(hashes):
        difference = np.abs(thumbnails[first].astype(np.int16) - thumbnails[second])
        is_alike = (difference.mean(axis=(1, 2, 3)) <= MAX_MEAN) & (difference.max(axis=(1, 2, 3)) <= MAX_VALUE)
        is_alike &= is_textured[first] & is_textured[second]
        pairs |= set(zip(first[is_alike].tolist(), second[is_alike].tolist(), strict=True))
    return sorted((min(pair), max(pair)) for pair in pairs)


def _list_candidates(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield arrays of pairs whose hashes agree in a band and differ in few bits."""
    width = 64 // BANDS
    for band in range(BANDS):
        parts = (hashes >> np.uint64(band * width)) & np.uint64(2**width - 1)
        order = np.lexsort((hashes, parts))
        for step in range(1, min(NEIGHBOURS, len(hashes) - 1) + 1):
            first, second = order[:-step], order[step:]
            differences = (hashes[first] ^ hashes[second]).view(np.uint8).reshape(-1, 8)
            bit_counts = np.unpackbits(differences, axis=1).sum(axis=1)
            is_candidate = (parts[first] == parts[second]) & (bit_counts <= MAX_HASH_BITS)
            if is_candidate.any():
                yield first[is_candidate], second[is_candidate]
