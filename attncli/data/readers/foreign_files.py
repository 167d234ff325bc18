"""Files of images that no dataset here reads, named as what they are: archives, arrays, records of other programs."""

import os
from pathlib import Path

from attncli.data.readers.split_names import is_system_name
from attncli.errors import UserError

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
FOREIGN_FORMATS = {
    ".npz": "arrays of NumPy", ".npy": "an array of NumPy", ".mat": "a file of MATLAB", ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file", ".tfrecord": "records of TensorFlow", ".tfrecords": "records of TensorFlow",
    ".db": "a database", ".sqlite": "a database", ".pkl": "a pickle", ".pickle": "a pickle", ".pt": "tensors of torch",
    ".pth": "tensors of torch", ".mdb": "an LMDB database", ".lmdb": "an LMDB database", ".rec": "records of MXNet",
    ".beton": "a file of FFCV", ".idx": "an index of records", ".bin": "plain bytes",
}  # fmt: skip
# Files of published datasets, by the beginning of their names, and the datasets that read them.
PUBLISHED_FILES = {
    "data_batch": "cifar10, in its Python version (data_batch_1 without .bin),",
    "test_batch": "cifar10",
    "batches.meta": "cifar10",
    "train-images": "mnist or fashion-mnist",
    "train-labels": "mnist or fashion-mnist",
    "t10k-": "mnist or fashion-mnist",
    "train_32x32.mat": "svhn",
    "test_32x32.mat": "svhn",
    "train_x.bin": "stl10",
    "train_y.bin": "stl10",
    "test_x.bin": "stl10",
    "test_y.bin": "stl10",
}
SPREADSHEETS = (".xlsx", ".xls", ".ods")
ARROW_HINT = "datasets.load_from_disk(DIR)['train'].to_parquet('train.parquet') makes a Parquet table of it"
SIDE_SUFFIXES = (".md", ".json", ".yaml", ".txt", ".html")  # of notes beside such files
CONVERT_HINT = (
    "write the images as files (train/CLASS/*.png) or as a Parquet table with the columns image and label; "
    "`attncli help data` has a few lines of Python for it"
)


def check_foreign_file(path: Path) -> None:
    """Raise UserError for an archive or a format that no dataset here reads, with what to do."""
    error = _describe_foreign_file(path.name, str(path))
    if error is not None:
        raise error


def check_foreign_folder(root: Path) -> None:
    """Raise UserError for a folder that, at any depth, holds nothing but such files and notes beside them.

    Links to folders may hold anything and are not followed here.
    """
    first_path, count = None, 0
    for folder, names, files in os.walk(root, followlinks=False):
        names[:] = sorted(name for name in names if not is_system_name(name))
        if any(Path(folder, name).is_symlink() for name in names):
            return
        for name in sorted(name for name in files if not is_system_name(name)):
            if _describe_foreign_file(name, name) is not None:
                first_path, count = first_path or Path(folder, name), count + 1
            elif not name.lower().endswith(SIDE_SUFFIXES):
                return
    if first_path is not None:
        others = f" and {count - 1} more such" if count > 1 else ""
        error = _describe_foreign_file(first_path.name, f"{root}: it only holds {first_path.relative_to(root)}{others}")
        if error is not None:
            raise error


def _describe_foreign_file(name: str, location: str) -> UserError | None:
    """Return the error for a file by its name, or None if a dataset may read it."""
    published = next((text for start, text in PUBLISHED_FILES.items() if name.lower().startswith(start)), None)
    if published is not None:
        return UserError(f"{location}: a file of a published dataset", f"--dataset {published} reads it")
    suffixes = [f".{word}" for word in name.lower().split(".")[1:]]  # also of x.tfrecord-00000-of-00010
    suffix = suffixes[-1] if suffixes else ""
    if suffix in ARCHIVES:
        return UserError(f"{location}: an archive", "unpack it, and give the folder or list that it holds")
    if suffix in SPREADSHEETS:
        return UserError(f"{location}: a spreadsheet", "save it as CSV (UTF-8), which --dataset table reads")
    if suffix == ".arrow":
        return UserError(f"{location}: an Arrow file, which no dataset here reads", ARROW_HINT)
    known = [text for ending, text in FOREIGN_FORMATS.items() if suffix == ending or suffix.startswith(f"{ending}-")]
    return UserError(f"{location}: {known[0]}, which no dataset here reads", CONVERT_HINT) if known else None
