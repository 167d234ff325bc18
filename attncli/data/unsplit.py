"""Image files of one or more parts, of which some may be missing: the test set is cut where there is none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from attncli.data import subset
from attncli.data.dataset import Source
from attncli.data.images import image_source
from attncli.data.listing import Listing
from attncli.data.place import Place
from attncli.recipe import Data

TEST_SHARE, TEST_SEED = 0.2, 0


def fifth_as_test(listings: Mapping[str, Listing], root: Path, data: Data, place: Place, *, origin: str) -> Source:
    """The source of `train` and, where they are there, `test` and `val`; a fifth of each class is cut for testing."""
    if "test" in listings:
        return image_source(listings, root, data, place, origin=origin)
    whole = image_source({**listings, "test": listings["train"]}, root, data, place, origin=origin)
    labels = whole.train.labels
    quota = subset.shares(labels.bincount(), TEST_SHARE, least=1, spare=1)
    test = torch.zeros(len(labels), dtype=torch.bool)
    test[subset.draw(labels, quota, TEST_SEED, "test")] = True
    rows = {True: test.nonzero().flatten(), False: (~test).nonzero().flatten()}
    return replace(whole, train=whole.train.rows(rows[False]), test=whole.train.rows(rows[True]))
