"""Images in Parquet files, as Hugging Face, pandas and polars write them; one file, or several per split.

The column of images is called image or img, or is the only one with bytes; that of labels is label or labels, or the
only one of numbers or texts; data.image_column and data.label_column name others. Images may also be paths of files.

Columns may also stand in the folders, as tables are partitioned: label=cat/part-0.parquet.

data.root is a file, or a folder whose files have train, test or validation (or another usual name of these) in their
names, such as train-00000-of-00002.parquet or train/0000.parquet; other files are refused unless data.unused_splits
names them. If no file names a split, a column split tells that of each row. Without a test split, validation is the
test set; without either, one fifth of each class is, chosen by a fixed seed. If several folders have the same split,
data.configuration chooses the folder. Class names are those in the file's schema, if it has any; classes without
images are left out. Images of different sizes need data.image_size.
"""

from dataclasses import replace

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.columns import name_columns
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.parquet import list_parquet
from attncli.errors import UserError
from attncli.recipe import Data

ORIGIN = "user"
ROOT_HOLDS = "a .parquet file, or a folder of them"


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the images of the files. Raises UserError if there are no files or they have other columns."""
    if paths.user_root is None:
        raise UserError("data.root: the dataset 'parquet' needs one", "--data-root FILE.parquet, or a folder of them")
    wanted = name_columns(data)
    root, listings, notes = list_parquet(paths.user_root, data.configuration, data.unused_splits, wanted)
    source = make_image_source(listings, root, data, paths)
    return replace(source, origin=str(paths.user_root.resolve()), notes=(*notes, *source.notes))
