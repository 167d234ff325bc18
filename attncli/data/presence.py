"""Whether the images of a recipe are there. torch is loaded only if files are there that have to be listed."""

from attncli.data.paths import DataPaths, find_default_root
from attncli.data.registry import check_data_root, describe_availability, find_base, find_missing_root
from attncli.dataset_catalog import has_origin
from attncli.quantities import format_counts
from attncli.recipe import Data
from attncli.system.files import expand_user_path


def describe_images(data: Data) -> str:
    """Return whether the images of a recipe are there and how many, or what has to be done to get them.

    A folder that is not there is no error, as a recipe may be checked on another machine than that of its run.
    Files are listed and split as loading does it, and the header of one image of each class is read. Nothing is decoded
    or downloaded. Published files in the folder of downloads are only looked for.

    Raises:
        UserError: for files that are there and that loading refuses, with its problem and hint.
    """
    missing = find_missing_root(data)
    if missing is not None:
        return f"not here ({missing.problem}): a run on this machine will be refused"
    check_data_root(data)
    if has_origin(data.name, "hub") and data.of is not None:
        return f"on the hub, if they were not downloaded before{_describe_mirroring(data)}"
    base = find_base(data)
    availability = describe_availability(base, find_default_root())
    is_there_on_request = has_origin(base, "request") and availability == "there"
    return _describe_files(data) if is_there_on_request or _has_own_files(data) else availability


def check_images(data: Data) -> None:
    """Raise UserError, as loading does, for images that are not there and cannot be downloaded, or are refused there.

    What is looked at is that of `describe_images`.
    """
    check_data_root(data)
    if has_origin(find_base(data), "request") or _has_own_files(data):
        _describe_files(data)


def _has_own_files(data: Data) -> bool:
    """Return whether the user names a folder of images that can be listed."""
    return data.root is not None and has_origin(find_base(data), "user", "request", "download")


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
    images = format_counts(layout.image_counts, "image")
    remark = _describe_mirroring(data)
    return f"there ({images} in {layout.class_count:,} classes; `attncli data verify` decodes them{remark})"


def _describe_mirroring(data: Data) -> str:
    """Return that training mirrors images of a kind that only the user knows, unless the recipe decides it."""
    is_own = any(has_origin(name, "user", "hub") for name in (data.name, data.of))
    return "; training mirrors them unless data.flip=false" if is_own and data.flip is None else ""
