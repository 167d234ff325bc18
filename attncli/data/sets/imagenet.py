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

from attncli.data.dataset import Source
from attncli.data.ground_truth import by_name
from attncli.data.images import image_source
from attncli.data.labels import labelled
from attncli.data.listing import Listing, list_classes, list_flat
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data

LAYOUT = "train/WNID/*.JPEG, and val/WNID/*.JPEG or val/*.JPEG with a file of labels (`attncli data ls imagenet`)"
HOLDS = ("imagenet/train",)
WITHIN = (".", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COUNTS = (1_281_167, 50_000)


def read(data: Data, place: Place) -> Source:
    """The folder. Raises UserError where it is not there or not laid out like that."""
    root = next((place.root / w for w in WITHIN if (place.root / w / "train").is_dir()), None)
    if root is None:
        hint = f"ImageNet is given to those who register at image-net.org; --data-root DIR, with {LAYOUT}"
        raise UserError(f"imagenet: no folder train/ in {place.root}", hint)
    train = list_classes(root, "train")
    listings = {"train": train, "test": _val(root, train)}
    whole = COUNTS if len(train.classes) == 1000 else None
    return image_source(listings, root, data, place, mean=MEAN, std=STD, counts=whole)


def _val(root: Path, train: Listing) -> Listing:
    folder = root / "val"
    if not folder.is_dir():
        raise UserError(f"{root}: no folder val/ in it", LAYOUT)
    if any(entry.is_dir() for entry in folder.iterdir() if not entry.name.startswith(".")):
        listing = list_classes(root, "val")
        other = sorted(set(listing.classes) ^ set(train.classes))
        if other:
            raise UserError(f"{root}: '{other[0]}' is not in both train/ and val/", "both need the same classes")
        return listing
    files = list_flat(root, "val")
    labels, told = by_name(root, [file.path.rpartition("/")[2] for file in files], LAYOUT)
    return labelled("val", train.classes, files, labels, told)
