"""CIFAR and MNIST from torchvision's files: read, downloaded with checks, and refused clearly."""

import gzip
import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from attncli import data
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Data

RNG = np.random.default_rng(0)


def md5(content: bytes) -> str:
    """As torchvision's lists have it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A server of files with a tiny CIFAR-10: 20 images to train on and 10 to test on."""
    labels = [i % 10 for i in range(20)]
    pixels = {name: RNG.integers(0, 256, (n, 3072), dtype=np.uint8) for name, n in (("train", 20), ("test", 10))}
    files = {
        "data_batch_1": {"data": pixels["train"], "labels": labels},
        "test_batch": {"data": pixels["test"], "labels": labels[:10]},
        "batches.meta": {"label_names": [f"class{i}" for i in range(10)]},
    }
    packed = {name: pickle.dumps(content) for name, content in files.items()}
    archive = tmp_path / "server" / "cifar.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in packed.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    known = torchvision.datasets.CIFAR10
    monkeypatch.setattr(known, "url", archive.as_uri())
    monkeypatch.setattr(known, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(known, "train_list", [["data_batch_1", md5(packed["data_batch_1"])]])
    monkeypatch.setattr(known, "test_list", [["test_batch", md5(packed["test_batch"])]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(packed["batches.meta"])}
    monkeypatch.setattr(known, "meta", meta)
    return pixels


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A server of files with a tiny MNIST, its first mirror away."""
    server = tmp_path / "mnist"
    server.mkdir()
    resources, pixels = [], {}
    for part, n in (("train", 20), ("t10k", 10)):
        pixels[part] = RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        for kind, magic, values in (("images-idx3", 2051, pixels[part]), ("labels-idx1", 2049, labels)):
            header = np.array([magic, *values.shape], ">i4").tobytes()
            content = gzip.compress(header + values.tobytes())
            (server / f"{part}-{kind}-ubyte.gz").write_bytes(content)
            resources.append((f"{part}-{kind}-ubyte.gz", md5(content)))
    known = torchvision.datasets.MNIST
    monkeypatch.setattr(known, "mirrors", [(tmp_path / "away").as_uri() + "/", server.as_uri() + "/"])
    monkeypatch.setattr(known, "resources", resources)
    return pixels


def load(tmp_path: Path, name: str, **keys: object) -> Dataset:
    """The dataset, its root below tmp_path."""
    recipe = Data.model_validate({"name": name, "root": str(tmp_path / "root"), "val_fraction": 0.0, **keys})
    return data.load(recipe, cache=tmp_path / "cache")


def test_cifar_is_downloaded_once_and_read(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """Pixels, labels and class names are those of the files; the second time needs no server."""
    dataset = load(tmp_path, "cifar10")
    assert np.array_equal(dataset.train.images.numpy(), cifar["train"].reshape(-1, 3, 32, 32))
    assert np.array_equal(dataset.test.images.numpy(), cifar["test"].reshape(-1, 3, 32, 32))
    assert dataset.train.labels.tolist() == [i % 10 for i in range(20)]
    assert dataset.classes[3] == "class3"
    assert (dataset.pad, dataset.flip) == (4, True)
    assert dataset.mean == (0.4914, 0.4822, 0.4465)
    (tmp_path / "server/cifar.tar.gz").unlink()
    (tmp_path / "root/cifar-10-python.tar.gz").unlink()
    assert load(tmp_path, "cifar10").digest == dataset.digest


def test_the_root_may_be_the_folder_itself(
    tmp_path: Path, cifar: dict[str, np.ndarray], mnist: dict[str, np.ndarray]
) -> None:
    """The folder that the archive holds, or one with the same files, is as good as the folder above it."""
    digests = {name: load(tmp_path, name).digest for name in ("cifar10", "mnist")}
    (tmp_path / "root/MNIST/raw").rename(tmp_path / "root/other")
    for name, folder in (("cifar10", "cifar-10-batches-py"), ("mnist", "other")):
        assert load(tmp_path, name, root=str(tmp_path / "root" / folder)).digest == digests[name]


def test_download_progress_is_told(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """Bytes so far and in all, ending with all."""
    progress_calls: list[tuple[str, int, int]] = []
    recipe = Data(name="cifar10", root=str(tmp_path / "root"))
    data.load(recipe, cache=tmp_path / "cache", progress=lambda *step: progress_calls.append(step))
    size = (tmp_path / "server/cifar.tar.gz").stat().st_size
    assert progress_calls[-1] == ("downloading cifar-10-python.tar.gz", size, size)


def test_a_damaged_file_is_fetched_again(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """A batch file that does not have its sum is replaced."""
    expected = load(tmp_path, "cifar10").digest
    (tmp_path / "root/cifar-10-batches-py/test_batch").write_bytes(b"damaged")
    assert load(tmp_path, "cifar10").digest == expected


def test_a_wrong_archive_is_not_kept(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """A download with another sum (a login page, say) is refused and removed."""
    (tmp_path / "server/cifar.tar.gz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(UserError, match=r"cifar\.tar\.gz"):
        load(tmp_path, "cifar10")
    assert [p.name for p in (tmp_path / "root").iterdir()] == [".cifar10.lock"]


def test_without_network(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """One line with the place and the reason; the hint names --data-root, folder and digits."""
    (tmp_path / "server/cifar.tar.gz").unlink()
    with pytest.raises(UserError) as caught:
        load(tmp_path, "cifar10")
    error = caught.value
    assert error.problem.startswith(f"cifar10: not in {tmp_path / 'root'}, and the download failed: ")
    assert "\n" not in error.problem
    for word in ("--data-root", "cifar-10-batches-py", "folder", "digits"):
        assert word in error.hint


def test_a_root_that_cannot_be_made(tmp_path: Path, cifar: dict[str, np.ndarray]) -> None:
    """A file in the root's place is a clear error."""
    (tmp_path / "root").write_text("in the way")
    with pytest.raises(UserError, match="cifar10: not in "):
        load(tmp_path, "cifar10")


def test_mnist_from_the_second_mirror(tmp_path: Path, mnist: dict[str, np.ndarray]) -> None:
    """Grey images with three equal planes; an unreachable mirror is skipped."""
    dataset = load(tmp_path, "mnist")
    for plane in range(3):
        assert np.array_equal(dataset.train.images[:, plane].numpy(), mnist["train"])
        assert np.array_equal(dataset.test.images[:, plane].numpy(), mnist["t10k"])
    assert dataset.classes == tuple("0123456789")
    assert (dataset.pad, dataset.flip) == (3, False)
    assert not list((tmp_path / "root").rglob(".*ubyte*"))


def test_cluttered_mnist_is_60_by_60(tmp_path: Path, mnist: dict[str, np.ndarray]) -> None:
    """The canvas of the papers."""
    assert load(tmp_path, "cluttered", of="mnist").train.images.shape == (20, 3, 60, 60)


def test_files_that_cannot_be_read_are_told(
    tmp_path: Path, mnist: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive that is what it should be and still can't be read names the folder."""
    server = tmp_path / "mnist"
    content = gzip.compress(b"no idx file at all")
    resources = list(torchvision.datasets.MNIST.resources)
    (server / resources[0][0]).write_bytes(content)
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", [(resources[0][0], md5(content)), *resources[1:]])
    with pytest.raises(UserError, match="MNIST/raw"):
        load(tmp_path, "mnist")
