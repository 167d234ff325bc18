"""The cache of decoded images: decoded once, complete or not there, never stale."""

import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.images import decoded_cache
from attncli.data.images.decode import DecodedImage
from attncli.errors import UserError
from tests.data.image_fixtures import folder, noise, of_folder, picture


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each image decoded so far."""
    names: list[str] = []
    original = decoded_cache.decode_image

    def counting(*arguments: Any) -> DecodedImage:
        names.append("an image")
        return original(*arguments)

    monkeypatch.setattr(decoded_cache, "decode_image", counting)
    return names


def load(root: Path, **keys: object) -> Dataset:
    """Load the folder as a dataset, with a cache next to it."""
    return data.load(of_folder(root, **keys), cache=root.parent / "cache")


def test_the_second_time_nothing_is_decoded(tmp_path: Path, decoded: list[str]) -> None:
    """The same images, digest and statistics come back from the cache."""
    root = folder(tmp_path / "x")
    first = load(root)
    assert len(decoded) == 24
    again = load(root)
    assert len(decoded) == 24
    assert torch.equal(first.train.images, again.train.images)
    assert (first.digest, first.mean, first.std) == (again.digest, again.mean, again.std)


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    """Another content under the same name is seen, and the digest changes."""
    root = folder(tmp_path / "x")
    before = load(root)
    path = picture(root / "train/cat/0.png", seed=77)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))
    after = load(root)
    assert before.digest != after.digest


def test_names_alone_are_no_content(tmp_path: Path) -> None:
    """A copy of the folder elsewhere has the same digest, though it is decoded again."""
    root = folder(tmp_path / "x")
    shutil.copytree(root, tmp_path / "y")
    assert load(root).digest == load(tmp_path / "y").digest


def test_a_label_is_content(tmp_path: Path) -> None:
    """Two images that change places between classes change the digest."""
    root = folder(tmp_path / "x")
    before = load(root, val_fraction=0.0).digest
    (root / "test/cat/0.png").rename(root / "test/swap.png")
    (root / "test/dog/0.png").rename(root / "test/cat/0.png")
    (root / "test/swap.png").rename(root / "test/dog/0.png")
    assert load(root, val_fraction=0.0).digest != before


@pytest.mark.parametrize("keys", [{}, {"crop": "resized", "image_size": 8}, {"crop": "resized", "decoded": False}])
def test_files_of_the_same_size_and_time_are_not_confused(tmp_path: Path, keys: dict[str, object]) -> None:
    """Uncompressed files out of an archive: two classes change places, and nothing but their inodes tells."""
    root = tmp_path / "x"
    for i, path in enumerate(root / s / c / f"{n}.bmp" for s in ("train", "test") for c in "ab" for n in range(2)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(i)).save(path)
        os.utime(path, ns=(10**18, 10**18))
    keys = {"image_size": 8, **keys}
    before = load(root, **keys)
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (root / "train" / old).rename(root / "train" / new)
    after = load(root, **keys)
    assert after.digest != before.digest
    assert load(root, **keys).digest == after.digest


def test_ranges_and_bad_files_are_of_the_content(tmp_path: Path) -> None:
    """What is remembered about 16 bits and unreadable files is forgotten if other files have their sizes and times."""

    def fill(values: tuple[int, int], is_cut: bool) -> None:
        for i, path in enumerate(
            tmp_path / "x" / s / c / f"{n}.tif" for s in ("train", "test") for c in "ab" for n in "12"
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            Image.fromarray(np.full((8, 8), values[i % 2] + i, np.uint16)).save(path)
            if is_cut and not i:
                path.write_bytes(bytes(path.stat().st_size))
            os.utime(path, ns=(10**18, 10**18))

    fill((50, 200), is_cut=True)
    before = load(tmp_path / "x", bad="skip", val_fraction=0.0)
    fill((1000, 4000), is_cut=False)
    after = load(tmp_path / "x", bad="skip", val_fraction=0.0)
    assert [len(before.train), len(after.train)] == [3, 4]
    assert int(before.train.images.max()) == 203
    assert int(after.train.images.max()) == 4003 >> 4


def test_images_that_change_while_a_run_trains(tmp_path: Path) -> None:
    """Images that each epoch decodes again must be the ones that the digest is of."""
    root = folder(tmp_path / "x")
    images = load(root, crop="resized", image_size=8, decoded=False, val_fraction=0.0).train.whole_images
    assert images is not None
    assert np.array_equal(images.read(1), noise(1))
    picture(root / "train/cat/1.png", seed=99)
    assert np.array_equal(images.read(2), noise(2))
    with pytest.raises(UserError, match=r"train/cat/1\.png: its content changed while the run trains"):
        images.read(1)


def test_touched_files_are_not_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    """Files that were copied back in place, with their times, are read and found to be the same."""
    root = folder(tmp_path / "x")
    first = load(root)
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "copy", root)
    assert load(root).digest == first.digest
    assert len(decoded) == 24


def test_half_an_entry_is_not_used(tmp_path: Path, decoded: list[str]) -> None:
    """A file cut short, an unreadable description and a left-over temporary file all lead to decoding again."""
    root = folder(tmp_path / "x")
    expected = load(root).train.images.clone()
    binaries = sorted((tmp_path / "cache").glob("*.bin"))
    descriptions = sorted((tmp_path / "cache").glob("*.json"))
    assert len(binaries) == len(descriptions) == 3
    for path in binaries:
        path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / f"cache/.{binaries[0].name}.1").write_bytes(b"left by a killed process")
    assert torch.equal(load(root).train.images, expected)
    assert len(decoded) == 48
    for count, text in ((72, '{"shape": ['), (96, "null")):
        for path in descriptions:
            path.write_text(text)
        assert torch.equal(load(root).train.images, expected)
        assert len(decoded) == count
    assert not list((tmp_path / "cache").glob(".*"))


def test_interrupted_decoding_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle: no entry, no temporary file, and the next call decodes."""
    root = folder(tmp_path / "x", each=40)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.load(of_folder(root), cache=tmp_path / "cache", progress=interrupt)
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".lock"]
    assert len(load(root).test) == 120


def test_killed_while_decoding(tmp_path: Path) -> None:
    """After kill -9 in the middle, the left-over is ignored and removed, and the lock is free."""
    root = folder(tmp_path / "x", each=40)
    code = (
        "import os, signal, sys; from pathlib import Path; from attncli import data; from attncli.recipe import Data\n"
        "stop = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"data.load(Data(name='folder', root={str(root)!r}), cache=Path({str(tmp_path / 'cache')!r}), progress=stop)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list((tmp_path / "cache").glob(".*.bin.*"))) == 1
    assert len(load(root).test) == 120
    assert not list((tmp_path / "cache").glob(".*"))


def test_progress_is_told(tmp_path: Path) -> None:
    """Images decoded so far and in all, for each part, up to the last."""
    progress_calls: list[tuple[str, int, int]] = []
    root = folder(tmp_path / "x", each=30)
    data.load(
        of_folder(root, val_fraction=0.0), cache=tmp_path / "cache", progress=lambda *step: progress_calls.append(step)
    )
    train = [(done, total) for what, done, total in progress_calls if what == "decoding train images"]
    assert train == [(64, 90), (90, 90)]
    assert progress_calls[-1] == ("decoding test images", 90, 90)


def test_the_entry_says_what_it_holds(tmp_path: Path) -> None:
    """The SHA-256 on file is that of the shape and the raw pixels next to it."""
    import hashlib

    load(folder(tmp_path / "x"))
    for path in (tmp_path / "cache").glob("*.json"):
        known = json.loads(path.read_text())
        digest = hashlib.sha256(repr(tuple(known["shape"])).encode() + path.with_suffix(".bin").read_bytes())
        assert known["sha256"] == digest.hexdigest()


def test_mapped_images_are_not_written_back(tmp_path: Path) -> None:
    """Writing into a loaded tensor leaves the cache as it is."""
    root = folder(tmp_path / "x")
    expected = load(root).train.images.clone()
    load(root).train.images.zero_()
    assert torch.equal(load(root).train.images, expected)


def test_a_cache_larger_than_memory_is_mapped(tmp_path: Path) -> None:
    """An entry of 400 GB (a file with a hole) is there at once, takes no memory and can be read at its end."""
    binary, size = tmp_path / "large.bin", 12 << 35
    with binary.open("wb") as file:
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("files of this size are not possible here")
        file.seek(size - 3)
        file.write(b"\x01\x02\x03")
    mapped = decoded_cache.map_file(binary, (size // 12, 2, 2, 3))
    assert mapped[-1, -1, -1].tolist() == [1, 2, 3]
    assert mapped[0].sum() == 0


def test_no_room_is_told_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]) -> None:
    """A disk without room gives the need and what is free, before any work."""
    monkeypatch.setattr(decoded_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="no room") as caught:
        load(folder(tmp_path / "x"))
    assert "data.per_class" in caught.value.hint
    assert not decoded


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left while writing is one clear error, and nothing is left behind."""

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        load(folder(tmp_path / "x"))
    assert "free some space" in caught.value.hint
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the cache's place is named."""
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UserError, match="cache: "):
        load(folder(tmp_path / "x"))


def test_jobs_that_start_together_decode_once(tmp_path: Path, decoded: list[str]) -> None:
    """Two that want the same images take turns, and the second finds the work done."""
    root = folder(tmp_path / "x", each=20)
    with ThreadPoolExecutor(2) as pool:
        digests = {dataset.digest for dataset in pool.map(load, [root, root])}
    assert len(digests) == 1
    assert len(decoded) == 120
