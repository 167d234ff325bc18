"""Image files of one or more parts, of which some may be missing: the test set is cut where there is none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from attncli.data import subset
from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import SplitListing
from attncli.recipe import Data

TEST_SHARE, TEST_SEED = 0.2, 0


def hold_out_test(
    listings: Mapping[str, SplitListing], root: Path, data: Data, paths: DataPaths, *, origin: str
) -> DatasetSource:
    """The source of `train` and, where they are there, `is_test` and `val`; a fifth of each class is cut for
    testing.
    """
    if "test" in listings:
        return make_image_source(listings, root, data, paths, origin=origin)
    source = make_image_source({**listings, "test": listings["train"]}, root, data, paths, origin=origin)
    labels = source.train.labels
    quota = subset.allot_quota(labels.bincount(), TEST_SHARE, least=1, spare=1)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[subset.draw_rows(labels, quota, TEST_SEED, "test")] = True
    rows = {True: is_test.nonzero().flatten(), False: (~is_test).nonzero().flatten()}
    return replace(source, train=source.train.select_rows(rows[False]), test=source.train.select_rows(rows[True]))
