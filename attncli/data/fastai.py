"""Imagenette and Imagewoof: ten ImageNet classes each, as fast.ai publishes them, or an unpacked folder of the kind."""

from collections.abc import Mapping
from pathlib import Path

from attncli.data.dataset import Source
from attncli.data.download import Archive
from attncli.data.images import image_source
from attncli.data.listing import list_root
from attncli.data.obtain import obtain
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data

AT = "https://s3.amazonaws.com/fast-ai-imageclas"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def fastai(
    data: Data, place: Place, kind: str, sums: Mapping[int, str], names: Mapping[str, str], counts: tuple[int, int]
) -> Source:
    """The classes `names` (by WordNet ID) of `kind`, from data.root or the published archive.

    `sums` are those of the archives by the shorter side of their images; the smallest is taken that has no fewer pixels
    than data.image_size. Raises UserError for a folder with other classes, and where nothing is there or to be had.
    """
    if place.given and (place.given / "train").is_dir():
        return _source(place.given, data, place, names, None)
    side = min((s for s in sums if s >= (data.image_size or max(sums))), default=max(sums))
    folder = place.root / f"{kind}2-{side}"
    archive = Archive((f"{AT}/{folder.name}.tgz",), place.root / f"{folder.name}.tgz", sums[side])

    def read() -> Source:
        if not folder.is_dir():
            raise LookupError(folder)
        return _source(folder, data, place, names, counts)

    return obtain(read, data.name, place, [archive], f"train/ and val/, or {folder.name}/")


def _source(root: Path, data: Data, place: Place, names: Mapping[str, str], counts: tuple[int, int] | None) -> Source:
    listings = list_root(root)
    found = listings["train"].classes
    other = sorted(set(found) ^ set(names))
    if other:
        problem = f"{root}: not the ten classes of {data.name}: {', '.join(other[:5])}"
        raise UserError(problem, "--dataset folder takes any classes")
    return image_source(
        listings, root, data, place, classes=[names[wnid] for wnid in found], mean=MEAN, std=STD, counts=counts
    )
