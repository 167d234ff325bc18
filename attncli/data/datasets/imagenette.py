"""13,394 photographs of 10 unlike ImageNet classes (Howard 2019); downloaded, 99 or 341 MB.

9,469 to train and 3,925 (val/) to test on, of 160 or 320 px, depending on data.image_size; or your own folder of
that kind as data.root, with train/ and val/.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.fastai import read_fastai
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
HOLDS = ("imagenette2-160 | imagenette2-320",)
SUMS = {160: "e793b78cc4c9e9a4ccc0c1155377a412", 320: "3df6f0d01a2c9592104656642f5e78a3"}  # torchvision's
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from the folder or the archive. Raises UserError if neither is there or available."""
    return read_fastai(data, paths, "imagenette", SUMS, CLASSES, (9_469, 3_925))
