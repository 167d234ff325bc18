"""Images in Parquet files in Hugging Face's layout: columns image {bytes} and label; one file, or one or more a part.

data.root is a file, or a folder whose files have train, test or validation in their names, such as
train-00000-of-00002.parquet or train/0000.parquet. Without a test part, validation is the test set; without either, a
fifth of each class, chosen by a fixed seed, is. Class names are those in the file's schema, if they are there. Images
of different sizes need data.image_size.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.parquet import list_parquet
from attncli.data.unsplit import hold_out_test
from attncli.errors import UserError
from attncli.recipe import Data


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """The files. Raises UserError where there are none, or where they have other columns."""
    if paths.user_root is None:
        raise UserError("data.root: the dataset 'parquet' needs one", "--data-root FILE.parquet, or a folder of them")
    root, listings = list_parquet(paths.user_root)
    return hold_out_test(listings, root, data, paths, origin=str(paths.user_root.resolve()))
