"""1,797 real handwritten digits, 8x8, 10 classes; comes with scikit-learn, nothing to download.

The test part of the UCI collection "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). It has no
split of its own: a fifth of each class (359 images), chosen by a fixed seed, is the test set of every recipe.
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

TEST_SHARE = 0.2
TEST_SEED = 0


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """The digits, split into 1,438 and 359."""
    table = _read_table()
    images = torch.from_numpy(table[:, :-1] * (255 / 16)).round().to(torch.uint8).view(-1, 8, 8)
    labels = torch.from_numpy(table[:, -1]).long()
    quota = subset.allot_quota(labels.bincount(), TEST_SHARE, least=1, spare=1)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[subset.draw_rows(labels, quota, TEST_SEED, "digits-test")] = True
    return DatasetSource(
        classes=tuple(str(d) for d in range(10)),
        train=make_memory_split(images[~is_test], labels[~is_test], data.image_size),
        test=make_memory_split(images[is_test], labels[is_test], data.image_size),
        origin="scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)",
    )


def _read_table() -> NDArray[np.float64]:
    """Rows of 64 values and a label (n, 65).

    From scikit-learn's file, as importing scikit-learn for it would take longer than training an epoch on it.
    """
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations if package else None) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
