"""Images of your own: ROOT/train/CLASS/* and ROOT/test/CLASS/* or val/ (or both), any sizes and common formats.

ROOT is data.root. Without test/, val/ is the test set and a validation part is cut from train/. Images of different
sizes need data.image_size. Classes are ordered by name; names that begin with a dot are passed over. Only the images
that a recipe keeps are decoded, once, into the cache (`attncli.data.images.decoded_cache`).
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import LAYOUT, list_root
from attncli.errors import UserError
from attncli.recipe import Data


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """The folder data.root. Raises UserError for a layout that can't be used or an image that can't be read."""
    if paths.user_root is None:
        raise UserError("data.root: the dataset 'folder' needs one", f"--data-root DIR; {LAYOUT}")
    return make_image_source(list_root(paths.user_root), paths.user_root, data, paths)
