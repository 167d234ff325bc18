"""70,000 handwritten digits, grey, 28x28, 10 classes (LeCun et al. 1998); downloaded, 12 MB.

Mean and standard deviation are those of the 60,000 training images.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_mnist
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
SIDE = 28
IN_MEMORY = True
GREY_ON_BLACK = True
HOLDS = ("MNIST/raw",)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_mnist("MNIST", data, paths, mean=0.1307, std=0.3081, classes=tuple(str(d) for d in range(10)))
