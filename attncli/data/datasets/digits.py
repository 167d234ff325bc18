"""1,797 real handwritten digits, 8x8, 10 classes; comes with scikit-learn, nothing to download.

The test part of the UCI collection "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). It has no
test split: one fifth of each class (359 images), chosen by a fixed seed, is the test set of every recipe.
Values 0 to 16 are scaled to 0 to 255.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from attncli.data import subset
from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.in_memory import make_memory_split
from attncli.recipe import Data

ORIGIN = "embedded"
ALIASES = ("sklearn-digits",)
CLASS_COUNT = 10
SIDE = 8
GREY_ON_BLACK = True


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the digits, split into 1,438 training and 359 test images."""
    table = _read_table()
    images = torch.from_numpy(table[:, :-1] * (255 / 16)).round().to(torch.uint8).view(-1, 8, 8)
    labels = torch.from_numpy(table[:, -1]).long()
    train_rows, test_rows = subset.cut_test_or_fold(data, labels, "digits-test")
    return DatasetSource(
        classes=tuple(str(d) for d in range(10)),
        train=make_memory_split(images[train_rows], labels[train_rows], data.image_size),
        test=make_memory_split(images[test_rows], labels[test_rows], data.image_size),
        has_own_test=False,
        origin="scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)",
    )


def _read_table() -> NDArray[np.float64]:
    """Return rows of 64 values and a label, (n, 65).

    They are read from scikit-learn's file, because importing scikit-learn takes longer than one epoch of training.
    """
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations if package else None) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
