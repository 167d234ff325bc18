"""60,000 photographs, 32x32, 100 classes (Krizhevsky 2009); downloaded, 169 MB.

Mean and standard deviation are those of the 50,000 training images.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_cifar
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 100
SIDE = 32
IN_MEMORY = True
PRINTED_NAME = "CIFAR-100"
HOLDS = ("cifar-100-python",)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_cifar("CIFAR100", data, paths, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
