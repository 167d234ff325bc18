"""99,289 house numbers, 32x32, 10 classes (Netzer et al. 2011); downloaded, 246 MB.

Digits cut from street views, neighbours included: 73,257 to train and 26,032 to test on; the 531,131 easier ones are
left out. Images are not mirrored unless data.flip says so.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_svhn
from attncli.recipe import Data

HOLDS = ("train_32x32.mat", "test_32x32.mat")


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """torchvision's files. Raises UserError where they are neither there nor to be had."""
    return read_svhn(data, paths)
