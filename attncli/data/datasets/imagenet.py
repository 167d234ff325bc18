"""ImageNet, ILSVRC 2012: 1,331,167 photographs, 1,000 classes (Russakovsky et al. 2015); needs your own copy.

data.root is a folder with train/WNID/* and val/, the test set: val/WNID/*, or val/* flat with its labels in one of

    LOC_val_solution.csv                           Kaggle's: name, class and boxes
    imagenet_2012_validation_synset_labels.txt     one class per line, in the order of the file names
    ILSVRC2012_validation_ground_truth.txt         one number per line, with the development kit's meta.mat
    val.txt, val_annotations.txt                   name and class

in data.root, val/, or the development kit's folder; Kaggle's folders (ILSVRC/Data/CLS-LOC) are found too. Classes are
WordNet IDs: data.classes=100 takes the first 100, data.classes=FILE those of a list, such as ImageNet-100.
"""

from dataclasses import replace
from pathlib import Path

from attncli.data.class_choice import choose_classes
from attncli.data.dataset import DatasetSource
from attncli.data.images.arrays import IMAGENET_MEAN, IMAGENET_STD
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import list_class_folders, list_flat_folder
from attncli.data.readers.imagenet_labels import read_labels_by_name
from attncli.data.readers.label_files import group_by_label
from attncli.data.readers.split_listing import SplitListing, check_no_empty_class
from attncli.data.readers.split_names import is_system_name
from attncli.errors import UserError
from attncli.recipe import Data

ORIGIN = "request"
ROOT_HOLDS = "a folder with train/WNID/*.JPEG and val/"
ALIASES = ("ilsvrc2012", "imagenet2012", "imagenet-1k")
CLASS_COUNT = 1000
PRINTED_NAME = "ImageNet-1k"
HOLDS = ("imagenet/train",)
LAYOUT = "train/WNID/*.JPEG, and val/WNID/*.JPEG or val/*.JPEG with a file of labels (`attncli data ls imagenet`)"
WITHIN = (".", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
PUBLISHED_COUNTS = (1_281_167, 50_000)


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from its folder. Raises UserError if it is not there or has another layout."""
    root = next((paths.root / folder for folder in WITHIN if (paths.root / folder / "train").is_dir()), None)
    if root is None:
        hint = f"ImageNet is given to those who register at image-net.org; --data-root DIR, with {LAYOUT}"
        raise UserError(f"imagenet: no folder train/ in {paths.root}", hint)
    train = list_class_folders(root, "train")
    chosen = [train.classes[number] for number in choose_classes(train.classes, data.classes)]
    check_no_empty_class(root, train, chosen)
    listings = {"train": train, "test": _list_validation(root, train)}
    return replace(
        make_image_source(listings, root, data, paths),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        published_counts=PUBLISHED_COUNTS if len(train.classes) == CLASS_COUNT else None,
    )


def _list_validation(root: Path, train: SplitListing) -> SplitListing:
    folder = root / "val"
    if not folder.is_dir():
        raise UserError(f"{root}: no folder val/ in it", LAYOUT)
    if any(entry.is_dir() for entry in folder.iterdir() if not is_system_name(entry.name)):
        listing = list_class_folders(root, "val")
        differing = sorted(set(listing.classes) ^ set(train.classes))
        if differing:
            raise UserError(f"{root}: '{differing[0]}' is not in both train/ and val/", "both need the same classes")
        check_no_empty_class(root, listing, listing.classes)
        return listing
    files = list_flat_folder(root, "val")
    labels, label_file = read_labels_by_name(root, [file.path.rpartition("/")[2] for file in files], LAYOUT)
    return group_by_label("val", train.classes, files, labels, label_file)
