"""ImageNet, ILSVRC 2012: 1,331,167 photographs, 1,000 classes (Russakovsky et al. 2015); a copy of your own.

data.root is a folder with train/WNID/* and val/, the test set: val/WNID/*, or val/* flat with its labels in one of

    LOC_val_solution.csv                           Kaggle's: name, class and boxes
    imagenet_2012_validation_synset_labels.txt     a class a line, in the order of the names
    ILSVRC2012_validation_ground_truth.txt         a number a line, with the development kit's meta.mat
    val.txt, val_annotations.txt                   name and class

in data.root, val/, or the development kit's folder; Kaggle's folders (ILSVRC/Data/CLS-LOC) are found too. Classes are
WordNet IDs: data.classes=100 takes the first 100, data.classes=FILE those of a list, as ImageNet-100's are.
"""

from pathlib import Path

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import SplitListing, list_class_folders, list_flat_folder
from attncli.data.readers.imagenet_labels import read_labels_by_name
from attncli.data.readers.label_files import group_by_label
from attncli.errors import UserError
from attncli.recipe import Data

LAYOUT = "train/WNID/*.JPEG, and val/WNID/*.JPEG or val/*.JPEG with a file of labels (`attncli data ls imagenet`)"
HOLDS = ("imagenet/train",)
WITHIN = (".", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COUNTS = (1_281_167, 50_000)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """The folder. Raises UserError where it is not there or not laid out like that."""
    root = next((paths.root / folder for folder in WITHIN if (paths.root / folder / "train").is_dir()), None)
    if root is None:
        hint = f"ImageNet is given to those who register at image-net.org; --data-root DIR, with {LAYOUT}"
        raise UserError(f"imagenet: no folder train/ in {paths.root}", hint)
    train = list_class_folders(root, "train")
    listings = {"train": train, "test": _list_validation(root, train)}
    published_counts = COUNTS if len(train.classes) == 1000 else None
    return make_image_source(listings, root, data, paths, mean=MEAN, std=STD, published_counts=published_counts)


def _list_validation(root: Path, train: SplitListing) -> SplitListing:
    folder = root / "val"
    if not folder.is_dir():
        raise UserError(f"{root}: no folder val/ in it", LAYOUT)
    if any(entry.is_dir() for entry in folder.iterdir() if not entry.name.startswith(".")):
        listing = list_class_folders(root, "val")
        differing = sorted(set(listing.classes) ^ set(train.classes))
        if differing:
            raise UserError(f"{root}: '{differing[0]}' is not in both train/ and val/", "both need the same classes")
        return listing
    files = list_flat_folder(root, "val")
    labels, label_file = read_labels_by_name(root, [file.path.rpartition("/")[2] for file in files], LAYOUT)
    return group_by_label("val", train.classes, files, labels, label_file)
