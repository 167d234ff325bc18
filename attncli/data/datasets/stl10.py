"""13,000 photographs, 96x96, 10 classes (Coates et al. 2011); downloaded, 2.6 GB.

5,000 to train and 8,000 to test on; the 100,000 unlabelled images are not read.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_stl10
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
SIDE = 96
IN_MEMORY = True
HOLDS = ("stl10_binary",)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_stl10(data, paths)
