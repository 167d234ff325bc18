"""Datasets that torchvision knows: its files, its checks, its reading; downloading with progress is ours."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torchvision.datasets

from attncli.data.dataset import Part, Source, Three
from attncli.data.download import Archive, fetch, unpack
from attncli.data.lock import exclusive
from attncli.data.memory import memory_part
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data

UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, AssertionError, KeyError, pickle.UnpicklingError)


def cifar(kind: str, data: Data, place: Place, *, mean: Three, std: Three) -> Source:
    """CIFAR-10 or CIFAR-100 (`kind` as torchvision has it)."""
    known = getattr(torchvision.datasets, kind)
    archive = Archive((known.url,), place.root / known.filename, known.tgz_md5)
    train, test = _both(known, data, place, [archive], holds=known.base_folder)
    return Source(
        classes=tuple(train.classes),
        train=_part(train, data),
        test=_part(test, data),
        origin=known.url,
        flip=True,
        mean=mean,
        std=std,
    )


def mnist(kind: str, data: Data, place: Place, *, mean: float, std: float, classes: tuple[str, ...]) -> Source:
    """MNIST or Fashion-MNIST (`kind` as torchvision has it)."""
    known = getattr(torchvision.datasets, kind)
    raw = place.root / kind / "raw"
    archives = [Archive(tuple(m + name for m in known.mirrors), raw / name, md5) for name, md5 in known.resources]
    train, test = _both(known, data, place, archives, holds=f"{kind}/raw")
    return Source(
        classes=classes,
        train=_part(train, data),
        test=_part(test, data),
        origin=known.mirrors[0],
        mean=(mean, mean, mean),
        std=(std, std, std),
    )


def _part(known: Any, data: Data) -> Part:
    return memory_part(torch.as_tensor(known.data), torch.as_tensor(known.targets), data.image_size)


def _both(known: Callable[..., Any], data: Data, place: Place, archives: list[Archive], holds: str) -> tuple[Any, Any]:
    """torchvision's training and test set, downloaded if need be. Raises UserError where that fails."""

    def read() -> tuple[Any, Any]:
        return known(place.root, train=True), known(place.root, train=False)

    with suppress(*UNREADABLE):
        return read()
    hint = (
        f"--data-root DIR names a folder that has {holds}/; --dataset folder takes images of your own; "
        "--dataset digits needs no download"
    )
    try:
        with exclusive(place.root / f".{data.name}.lock"):
            with suppress(*UNREADABLE):  # another process may have fetched them meanwhile
                return read()
            for archive in archives:
                fetch(archive, place.progress)
                unpack(archive.path)
    except OSError as error:
        reason = str(error).rstrip(".")
        raise UserError(f"{data.name}: not in {place.root}, and the download failed: {reason}", hint) from error
    try:
        return read()
    except UNREADABLE as error:
        raise UserError(f"{data.name}: the files in {place.root / holds} can't be read: {error}", hint) from error
