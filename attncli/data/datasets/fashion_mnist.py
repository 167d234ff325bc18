"""70,000 pictures of clothes, grey, 28x28, 10 classes (Xiao et al. 2017); downloaded, 31 MB.

Mean and standard deviation are those of the 60,000 training images. Nearly all shoes point to the left, so images
are not mirrored unless data.flip is set.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.torchvision_sets import read_mnist
from attncli.recipe import Data

ORIGIN = "download"
ALIASES = ("fmnist",)
CLASS_COUNT = 10
SIDE = 28
IN_MEMORY = True
GREY_ON_BLACK = True
HOLDS = ("FashionMNIST/raw",)
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from torchvision's files. Raises UserError if they are neither there nor available."""
    return read_mnist("FashionMNIST", data, paths, mean=0.2860, std=0.3530, classes=CLASSES)
