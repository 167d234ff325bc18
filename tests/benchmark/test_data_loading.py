"""The bench of the data: every way feeds the same images, and memory is watched."""

import mmap
import sys
import threading
from pathlib import Path

import pytest

from attncli.benchmark import data_loading
from attncli.benchmark.data_loading import ImageFolderSetting
from attncli.data.readers.image_folder import list_root
from attncli.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """24 small JPEGs, 20 of them to train on."""
    return data_loading.write_noise_folder(tmp_path_factory.mktemp("jpeg"), images=24, size=(60, 40))


def test_made_folder_is_one_that_both_read(root: Path) -> None:
    """Two classes in both parts."""
    listing = list_root(root)
    assert listing["train"].classes == listing["test"].classes == ("class0", "class1")
    assert sum(len(files) for files in listing["train"].files) == 20


@pytest.mark.parametrize("resized", [False, True])
def test_every_way_feeds_every_image(root: Path, tmp_path: Path, monkeypatch, resized: bool) -> None:
    """ImageFolder and the cache feed the training images, decoding reads the test images too; again each turn."""
    monkeypatch.setattr(data_loading.hardware, "count_usable_cpus", lambda: 1)
    fed = {}
    for way, make in data_loading.FEED_BUILDERS.items():
        feed = make(ImageFolderSetting(str(root), str(tmp_path / way), size=16, batch_size=5, resized=resized))
        fed[way] = (feed(), feed())
    assert fed == {"imagefolder": (20, 20), "decode": (24, 24), "cache": (20, 20), "jpeg": (20, 20)}


def test_decoding_begins_anew_each_turn(root: Path, tmp_path: Path, monkeypatch) -> None:
    """A turn of `decode` finds no cache, one of `cache` nothing to decode."""
    decoded: list[int] = []
    real = data_loading.data.load
    monkeypatch.setattr(
        data_loading.data,
        "load",
        lambda wanted, *, cache: real(wanted, cache=cache, progress=lambda what, done, total: decoded.append(done)),
    )
    folder = ImageFolderSetting(str(root), str(tmp_path / "c"), size=16, batch_size=5)
    feed = data_loading.build_decode_feed(folder)
    feed()
    first = len(decoded)
    feed()
    assert len(decoded) == 2 * first > 0
    data_loading.build_cache_feed(folder)()
    assert len(decoded) == 2 * first


def test_rows_compare_with_imagefolder() -> None:
    """The ratio is taken round by round; memory is told in MiB."""
    answer = {"images": 10, "own": 3 << 20, "resident": 5 << 20}
    rounds = [
        {"imagefolder": 0.2, "cache": 0.1},
        {"imagefolder": 0.4, "cache": 0.1},
        {"imagefolder": 0.2, "cache": 0.1},
    ]
    row = data_loading.summarize_way("cache", answer, rounds)
    assert (row.images_per_s, row.ratio[1], row.own_mib, row.resident_mib) == (10, 2, 3, 5)
    assert data_loading.format_data_row(row)["x imagefolder"] == "2.00 (2.00-3.00)"


def test_peak_keeps_the_largest() -> None:
    """Memory that was used and given back is in the peak."""
    peak = data_loading.PeakMemoryWatcher()
    peak.update_peaks()
    before = peak.own
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:  # no allocator's old pages
        held.write(bytes([1]) * (64 << 20))
        peak.update_peaks()
    peak.update_peaks()
    assert peak.own >= before + (48 << 20)
    if sys.platform == "linux":
        assert peak.resident > peak.own
    assert not any(isinstance(t, data_loading.PeakMemoryWatcher) for t in threading.enumerate())


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """The layout is looked at before any process is started."""
    with pytest.raises(UserError, match="no folder train/"):
        data_loading.bench_data_loading(tmp_path, 8, 4, 1)


def test_imagefolder_reads_the_folders_that_attncli_reads(tmp_path: Path, monkeypatch) -> None:
    """The training images may lie in Training/ of a lone folder; it has a worker per core, however many there are."""
    workers: list[int] = []
    monkeypatch.setattr(data_loading.hardware, "count_usable_cpus", lambda: 12)
    monkeypatch.setattr("torch.utils.data.DataLoader", lambda *_, num_workers, **__: workers.append(num_workers))
    inner = data_loading.write_noise_folder(tmp_path / "flowers", images=24, size=(60, 40))
    (inner / "train").rename(inner / "Training")
    data_loading.build_imagefolder_feed(ImageFolderSetting(str(tmp_path), str(tmp_path / "c"), size=16))
    assert workers == [12]
