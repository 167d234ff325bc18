"""99,289 house numbers, 32x32, 10 classes (Netzer et al. 2011); downloaded, 246 MB.

Digits cut from street views, neighbours included: 73,257 to train and 26,032 to test on; the 531,131 easier ones are
left out. Images are not mirrored unless data.flip is set.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_svhn
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
SIDE = 32
IN_MEMORY = True
PRINTED_NAME = "SVHN"
HOLDS = ("train_32x32.mat", "test_32x32.mat")


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_svhn(data, paths)
