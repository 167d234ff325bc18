"""60,000 photographs, 32x32, 10 classes (Krizhevsky 2009); downloaded, 170 MB.

Mean and standard deviation are those of the 50,000 training images.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_cifar
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
SIDE = 32
IN_MEMORY = True
PRINTED_NAME = "CIFAR-10"
HOLDS = ("cifar-10-batches-py",)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_cifar("CIFAR10", data, paths, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
