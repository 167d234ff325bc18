"""Interrupted downloads and decoding resume, and end in the same bytes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.images import resumable_writer, variable_size
from attncli.data.readers.download import Archive, fetch_archive, unpack_archive
from tests.data.image_fixtures import folder, of_folder

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()


class Server(BaseHTTPRequestHandler):
    """Serve CONTENT from the requested byte on, and stop after `most` bytes."""

    most = len(CONTENT)
    ranges = True
    asked: list[str] = []  # noqa: RUF012  # the class is what http.server takes; each test sets its own

    def do_GET(self) -> None:
        """Answer with all of the content, or its rest."""
        wanted = self.headers.get("Range", "")
        type(self).asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.most])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of CONTENT."""
    monkeypatch.setattr(Server, "asked", [])
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/content.bin"
    server.shutdown()
    thread.join()
    server.server_close()


def archive(url: str, tmp_path: Path) -> Archive:
    """CONTENT, to be fetched."""
    return Archive((url,), tmp_path / "content.bin", hashlib.sha256(CONTENT).hexdigest())


def interrupt(what: str, done: int, total: int) -> None:
    """Ctrl-C after a third."""
    if done > total / 3:
        raise KeyboardInterrupt


def test_a_download_goes_on(tmp_path: Path, url: str) -> None:
    """After Ctrl-C only the rest is asked for; the file has its own name only when it is complete."""
    wanted = archive(url, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch_archive(wanted, interrupt)
    partial_bytes = (tmp_path / ".content.bin.part").stat().st_size
    assert not wanted.path.exists()
    fetch_archive(wanted, lambda *step: None)
    assert Server.asked == ["", f"bytes={partial_bytes}-"]
    assert partial_bytes > len(CONTENT) // 3
    assert wanted.path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["content.bin"]


def test_a_connection_that_ends_early_goes_on(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python reports no error then; what came is kept, also if the rest ends early again."""
    wanted = archive(url, tmp_path)
    monkeypatch.setattr(Server, "most", 1_200_000)
    for received in ("1,200,000", "2,400,000"):
        with pytest.raises(OSError, match=f"ended after {received} of 3,000,000 bytes"):
            fetch_archive(wanted, lambda *step: None)
    fetch_archive(wanted, lambda *step: None)
    assert Server.asked == ["", "bytes=1200000-", "bytes=2400000-"]
    assert wanted.path.read_bytes() == CONTENT


def test_a_server_without_ranges_and_a_rest_that_does_not_fit(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without ranges sends everything; a partial file of other content is thrown away."""
    wanted, part = archive(url, tmp_path), tmp_path / ".content.bin.part"
    part.write_bytes(b"another file")
    fetch_archive(wanted, lambda *step: None)
    assert Server.asked == ["bytes=12-", ""]
    assert wanted.path.read_bytes() == CONTENT
    wanted.path.unlink()
    part.write_bytes(CONTENT[:1000])
    monkeypatch.setattr(Server, "ranges", False)
    fetch_archive(wanted, lambda *step: None)
    assert wanted.path.read_bytes() == CONTENT


def test_half_an_archive_leaves_nothing(tmp_path: Path) -> None:
    """An archive that ends early unpacks to nothing, and an earlier unpacking stays."""
    import zipfile

    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("x/a.txt", "a" * 1000)
        zipped.writestr("x/b.txt", os.urandom(1000))
    unpack_archive(path)
    assert (tmp_path / "x/a.txt").read_text() == "a" * 1000
    content = path.read_bytes()
    path.write_bytes(content.replace(b"b.txt", b"b.tx!", 1))
    with pytest.raises(zipfile.BadZipFile):
        unpack_archive(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "b.txt", "x", "x.zip"]


def load(root: Path, **keys: object) -> Dataset:
    """Load the folder, with a cache next to it."""
    recipe = of_folder(root, image_size=8, val_fraction=0.0, **keys)
    return data.load(recipe, cache=root.parent / "cache")


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_decoding_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop: str) -> None:
    """Interrupted after some chunks, the next reading decodes the rest and ends in the same images and digest."""
    root = folder(tmp_path / "x", each=100)
    expected = load(root, crop=crop)
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    monkeypatch.setattr(resumable_writer, "EVERY", 64 * 8 * 8 * 3)

    def stop(what: str, done: int, total: int) -> None:
        if done > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.load(of_folder(root, image_size=8, val_fraction=0.0, crop=crop), cache=tmp_path / "cache", progress=stop)
    assert not list((tmp_path / "cache").glob("*.bin"))
    image_counts: list[int] = []
    recipe = of_folder(root, image_size=8, val_fraction=0.0, crop=crop)
    again = data.load(recipe, cache=tmp_path / "cache", progress=lambda what, done, total: image_counts.append(done))
    assert image_counts[0] > 128
    assert again.digest == expected.digest
    assert not list((tmp_path / "cache").glob(".*"))


def test_decoding_that_was_killed_goes_on(tmp_path: Path) -> None:
    """After kill -9 too; a last line of the journal cut short counts for nothing."""
    root = folder(tmp_path / "x", each=100)
    expected = load(root, crop="resized").digest
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    code = (
        "import os, signal, sys; from pathlib import Path; from attncli import data; from attncli.recipe import Data\n"
        "from attncli.data.images import resumable_writer; resumable_writer.EVERY = 1\n"
        "stop = lambda what, done, total: done > 200 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"recipe = Data(name='folder', root={str(root)!r}, image_size=8, val_fraction=0.0, crop='resized')\n"
        f"data.load(recipe, cache=Path({str(tmp_path / 'cache')!r}), progress=stop)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    [log] = (tmp_path / "cache").glob(".*.json.part")
    log.write_text(log.read_text() + '{"images": 30')
    assert load(root, crop="resized").digest == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can't be chosen here")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Decoding 90 MB of whole images and cropping all of them takes far less private memory than their size.

    Eight images are read first: what the libraries allocate once differs from machine to machine, and is not meant.
    """
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from pathlib import Path\n"
        "import numpy as np, torch; from PIL import Image; from attncli import data\n"
        "from attncli.recipe import Data; from attncli.data.loader import BatchLayout, iterate_train_batches\n"
        "import psutil\n"
        "def own(m=psutil.Process().memory_info): return m().rss - m().shared\n"
        "peak = 0; torch.set_num_threads(1)\n"
        "def observe_peak(*step): global peak; peak = max(peak, own())\n"
        "def read_images(root, per_class):\n"
        "    for part, n in (('train', per_class), ('test', 2)):\n"
        "        for c in 'ab':\n"
        "            (root / part / c).mkdir(parents=True)\n"
        "            for i in range(n):\n"
        "                plain = np.full((500, 500, 3), 2 * i, np.uint8)\n"
        "                Image.fromarray(plain).save(root / part / c / f'{i}.jpg')\n"
        "    recipe = Data(name='folder', root=str(root), image_size=333, crop='resized', val_fraction=0.0)\n"
        "    before = own()\n"
        "    d = data.load(recipe, cache=root / 'cache', progress=observe_peak)\n"
        "    layout = BatchLayout(batch_size=2, device=torch.device('cpu'), channels_last=True)\n"
        "    for x, y in iterate_train_batches(d.train, d, layout, seed=0, epoch=0): observe_peak()\n"
        "    return before\n"
        "root = Path(sys.argv[1]); read_images(root / 'few', 8); peak = 0; before = read_images(root / 'many', 60)\n"
        "kept = sum(p.stat().st_size for p in (root / 'many' / 'cache').glob('*.bin'))\n"
        "print((peak - before) / 2**20, kept / 2**20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    own, kept = map(float, done.stdout.split())
    assert kept > 85
    assert own < kept / 2


def test_pictures_are_kept_at_one_and_a_half_sizes(tmp_path: Path) -> None:
    """What is larger is shrunk to it, what is smaller stays; the entry is as large as its images."""
    root = folder(tmp_path / "x", size=(40, 30))
    whole_images = load(root, crop="resized").train.whole_images
    assert whole_images is not None
    assert (int(whole_images.height[0]), int(whole_images.width[0])) == (round(8 * variable_size.KEPT_SIZE_RATIO), 16)
    [entry] = [p for p in (tmp_path / "cache").glob("*.json") if "sizes" in p.read_text()]
    assert entry.with_suffix(".bin").stat().st_size == 12 * 12 * 16 * 3
