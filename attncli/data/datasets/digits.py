"""1,797 real handwritten digits, 8x8, 10 classes; comes with scikit-learn, nothing to download.

The test part of the UCI collection "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), written by
13 people, form after form: each form begins with the digits 0 to 9 three times. The last three forms (382 images) are
the test set of every recipe, so no form is on both sides; validation images are cut at random from the others. With
data.folds, the parts are made of whole forms. Values 0 to 16 are scaled to 0 to 255.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attncli.data import subset
from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths, locate_digits_file
from attncli.data.readers.in_memory import make_memory_split
from attncli.recipe import Data

ORIGIN = "embedded"
ALIASES = ("sklearn-digits",)
CLASS_COUNT = 10
SIDE = 8
IN_MEMORY = True
GREY_ON_BLACK = True
FIRST_OF_FORM = (0, 130, 256, 386, 516, 646, 776, 1029, 1157, 1287, 1415, 1667)  # two hold two forms each
FIRST_TEST_ROW = 1415


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the digits, split into 1,415 training and 382 test images, or into folds."""
    table = _read_table()
    images = torch.from_numpy(table[:, :-1] * (255 / 16)).round().to(torch.uint8).view(-1, 8, 8)
    labels = torch.from_numpy(table[:, -1]).long()
    train_rows, test_rows = cut_forms(labels, data)
    return DatasetSource(
        classes=tuple(str(d) for d in range(10)),
        train=make_memory_split(images[train_rows], labels[train_rows], data.size),
        test=make_memory_split(images[test_rows], labels[test_rows], data.size),
        has_own_test=False,
        origin="scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)",
    )


def cut_forms(labels: Tensor, data: Data) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, rows to test on): the last forms are for the test, or those of a fold."""
    rows = torch.arange(len(labels))
    if data.folds is None:
        return rows[:FIRST_TEST_ROW], rows[FIRST_TEST_ROW:]
    forms = [str(np.searchsorted(FIRST_OF_FORM, int(row), side="right")) for row in rows]
    return subset.cut_fold(labels, data.fold, data.folds, subset.resolve_seed(data), forms)


def _read_table() -> NDArray[np.float64]:
    """Return rows of 64 values and a label, (n, 65).

    They are read from scikit-learn's file, because importing scikit-learn takes longer than one epoch of training.
    """
    file = locate_digits_file()
    if file is not None:
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
