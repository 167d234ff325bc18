"""1,797 real handwritten digits, 8x8, 10 classes; comes with scikit-learn, nothing to download.

The test part of the UCI collection "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). It has no
split of its own: a fifth of each class (359 images), chosen by a fixed seed, is the test set of every recipe.
Values 0 to 16 are scaled to 0 to 255.
"""

import torch
from sklearn.datasets import load_digits

from attncli.data import subset
from attncli.data.dataset import Source
from attncli.data.memory import memory_part
from attncli.data.place import Place
from attncli.recipe import Data

TEST_SHARE = 0.2
TEST_SEED = 0


def read(data: Data, place: Place) -> Source:
    """The digits, split into 1,438 and 359."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)  # (n, 8, 8)
    labels = torch.from_numpy(bunch.target).long()
    quota = subset.shares(labels.bincount(), TEST_SHARE, least=1, spare=1)
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[subset.draw(labels, quota, TEST_SEED, "digits-test")] = True
    return Source(
        classes=tuple(str(d) for d in range(10)),
        train=memory_part(images[~test], labels[~test], data.image_size),
        test=memory_part(images[test], labels[test], data.image_size),
        origin="scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)",
    )
