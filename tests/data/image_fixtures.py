"""Small folders of images made for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from attncli.data.paths import DataPaths
from attncli.recipe import Data

CLASSES = ("cat", "dog", "owl")


def picture(path: Path, seed: int, size: tuple[int, int] = (8, 8)) -> Path:
    """A PNG of noise, (W, H) = size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, size)).save(path)
    return path


def noise(seed: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """(H, W, 3), uint8."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def folder(
    root: Path, parts: tuple[str, ...] = ("train", "test"), each: int = 4, size: tuple[int, int] = (8, 8)
) -> Path:
    """ROOT/PART/CLASS/0.png ...: every image differs from every other."""
    seed = 0
    for part in parts:
        for name in CLASSES:
            for i in range(each):
                picture(root / part / name / f"{i}.png", seed, size)
                seed += 1
    return root


def of_folder(root: Path, **more: object) -> Data:
    """The recipe for a folder."""
    return Data.model_validate({"name": "folder", "root": str(root), **more})


def place(tmp: Path, root: Path | None = None) -> DataPaths:
    """Folders below a test's own."""
    return DataPaths(root, tmp / "root", tmp / "cache")
