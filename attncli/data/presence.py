"""Whether the images of a recipe are there. torch is loaded only if files are there that have to be listed."""

from attncli.data.paths import DataPaths, find_default_root
from attncli.data.registry import DEFAULT_BASE, check_data_root, describe_availability, find_missing_root
from attncli.dataset_catalog import has_origin
from attncli.recipe import Data
from attncli.system.files import expand_user_path


def describe_images(data: Data) -> str:
    """Return whether the images of a recipe are there and how many, or what has to be done to get them.

    Files are listed and split as loading does it, and the header of one image of each class is read. Nothing is decoded
    or downloaded. Published files in the folder of downloads are only looked for.

    Raises:
        UserError: for files that are there and that loading refuses, with its problem and hint.
    """
    missing = find_missing_root(data)
    if missing is not None:
        return missing.problem
    check_data_root(data)
    if has_origin(data.name, "hub") and data.of is not None:
        return "on the hub, if they were not downloaded before"
    base = data.of or DEFAULT_BASE if has_origin(data.name, "generated") else data.name
    availability = describe_availability(base, find_default_root())
    is_listed = has_origin(base, "user", "request", "download") and data.root is not None
    if not is_listed and not (has_origin(base, "request") and availability == "there"):
        return availability
    return _describe_files(data)


def _describe_files(data: Data) -> str:
    """Return how many images each split has, after the checks of `describe_images`."""
    from attncli.data.layout_check import check_layout  # here, as it imports torch
    from attncli.data.readers.download import NotFetchedError

    root = expand_user_path(data.root, "data.root") if data.root else None
    folder = find_default_root()
    try:
        layout = check_layout(data, DataPaths(root, folder, folder, may_fetch=False))
    except NotFetchedError:
        return "to be fetched"
    images = ", ".join(f"{count:,} {split}" for split, count in layout.image_counts.items())
    return f"there ({images} images in {layout.class_count:,} classes; `attncli data verify` decodes them)"
