"""70,000 pictures of clothes, grey, 28x28, 10 classes (Xiao et al. 2017); downloaded, 31 MB.

Mean and standard deviation are those of the 60,000 training images. Nearly all shoes point to the left, so images
are not mirrored unless data.flip says so.
"""

from attncli.data.dataset import Source
from attncli.data.place import Place
from attncli.data.torchvision_files import mnist
from attncli.recipe import Data

HOLDS = ("FashionMNIST/raw",)
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")


def read(data: Data, place: Place) -> Source:
    """torchvision's files. Raises UserError where they are neither there nor to be had."""
    return mnist("FashionMNIST", data, place, mean=0.2860, std=0.3530, classes=CLASSES)
