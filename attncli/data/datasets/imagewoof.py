"""12,954 photographs of 10 breeds of dogs in ImageNet (Howard 2019); downloaded, 92 or 328 MB.

9,025 to train and 3,929 (val/) to test on, of 160 or 320 px, depending on data.image_size; or your own folder of
that kind as data.root, with train/ and val/.
"""

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.fastai import read_fastai
from attncli.recipe import Data

ORIGIN = "download"
CLASS_COUNT = 10
HOLDS = ("imagewoof2-160 | imagewoof2-320",)
SUMS = {  # FastAI.jl's
    160: "663c22f69c2802d85e2a67103c017e047096702ffddf9149a14011b7002539bf",
    320: "4e4905ed7643120daaf9bf3b2ef7f3a7e8396d9bdaf254a38c6f01f618b4973d",
}
CLASSES = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from the folder or the archive. Raises UserError if neither is there or available."""
    return read_fastai(data, paths, "imagewoof", SUMS, CLASSES, (9_025, 3_929))
