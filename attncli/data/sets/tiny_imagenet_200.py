"""110,000 photographs, 64x64, 200 ImageNet classes (Le and Yang 2015); downloaded, 248 MB.

100,000 to train and 10,000 (val/) to test on, in the layout they are published in: train/WNID/images/* and val/images/*
with val/val_annotations.txt. The labels of test/ were never published. Classes are WordNet IDs; some images are grey.
"""

from pathlib import Path

from attncli.data.dataset import Source
from attncli.data.download import Archive
from attncli.data.images import image_source
from attncli.data.labels import labelled, lines
from attncli.data.listing import Listing, list_flat, walk
from attncli.data.obtain import obtain
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data

HOLDS = ("tiny-imagenet-200",)
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
LAYOUT = "wnids.txt, train/WNID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"


def read(data: Data, place: Place) -> Source:
    """data.root itself, tiny-imagenet-200/ in it, or the archive. Raises UserError where none is there or whole."""
    if place.given and (place.given / "wnids.txt").is_file():
        return _source(place.given, data, place)
    folder = place.root / "tiny-imagenet-200"

    def found() -> Source:
        if not folder.is_dir():
            raise LookupError(folder)
        return _source(folder, data, place)

    return obtain(found, data.name, place, [Archive((URL,), place.root / f"{folder.name}.zip", MD5)], f"{folder.name}/")


def _source(root: Path, data: Data, place: Place) -> Source:
    classes = tuple(sorted(text.strip() for text in lines(root / "wnids.txt", LAYOUT) if text.strip()))
    listings = {"train": _train(root, classes), "test": _val(root, classes)}
    return image_source(listings, root, data, place, origin=URL, counts=(100_000, 10_000))


def _train(root: Path, classes: tuple[str, ...]) -> Listing:
    """Every image of every class."""
    for wnid in classes:
        if not (root / "train" / wnid / "images").is_dir():
            raise UserError(f"{root}: no folder train/{wnid}/images", LAYOUT)
    files = tuple(tuple(walk(root / "train" / wnid / "images", f"train/{wnid}/images")) for wnid in classes)
    empty = [wnid for wnid, some in zip(classes, files, strict=True) if not some]
    if empty:
        raise UserError(f"{root}: no files in train/{empty[0]}/images", LAYOUT)
    return Listing("train", classes, files)


def _val(root: Path, classes: tuple[str, ...]) -> Listing:
    """The images of val/images by the classes that val_annotations.txt gives them: name, class, box."""
    told = root / "val" / "val_annotations.txt"
    rows = [text.split("\t")[:2] for text in lines(told, LAYOUT) if text.strip()]
    by_name = {row[0]: row[1] for row in rows if len(row) == 2}
    return labelled("val", classes, list_flat(root, "val/images"), by_name, told)
