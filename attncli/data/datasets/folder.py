"""Your own images: ROOT/train/CLASS/* and ROOT/test/CLASS/* or val/ (or both), or ROOT/CLASS/*; any common formats.

ROOT is data.root. The folders of the splits may also be called training, validation, valid, dev, testing, eval or
evaluation, in any case, or have such a word in their names, as test_set/ has; another folder with images of the same
classes is refused unless data.unused_splits names it. Without test/, val/ is the test set and a validation split is cut
from train/; without both, one fifth of each class is the test set, chosen by a fixed seed. Images of different sizes
need data.image_size. Classes are ordered by name. Hidden files and those of the system are passed over; notes, tables
and archives among the images are skipped and counted. Only the images that a recipe keeps are decoded, once, into the
cache.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import list_root
from attncli.data.readers.split_folders import LAYOUT
from attncli.errors import UserError
from attncli.recipe import Data

ORIGIN = "user"
ROOT_HOLDS = "a folder with train/CLASS/*.jpg and the same classes in test/ or val/ (or both)"
ALIASES = ("imagefolder", "custom", "own")


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the images of the folder data.root. Raises UserError for another layout or unreadable images."""
    if paths.user_root is None:
        raise UserError("data.root: the dataset 'folder' needs one", f"--data-root DIR; {LAYOUT}")
    return make_image_source(list_root(paths.user_root, data.unused_splits, data.classes), paths.user_root, data, paths)
