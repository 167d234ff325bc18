"""Time how fast images reach a training step, and in how much memory: attncli's decoded cache and torchvision.

imagefolder   torchvision's ImageFolder, resized, cropped and mirrored by its transforms, in a DataLoader with one
              worker process per core
decode        attncli reading the folder for the first time: images are decoded once into a cache on disk
cache         attncli reading the cache, which is mapped into memory
jpeg          attncli decoding again in each epoch (data.decoded=false), with resized crops only

python -m attncli.benchmark.data_loading WAY SETTING        (SETTING as JSON; see `attncli.benchmark.worker_process`)
"""

import json
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from attncli import data
from attncli.benchmark.results import compute_quartiles
from attncli.benchmark.turns import iterate_rounds
from attncli.benchmark.worker_process import answering_process, serve_requests
from attncli.data.dataset import Dataset
from attncli.data.images.arrays import IMAGENET_MEAN, IMAGENET_STD
from attncli.data.loader import BatchLayout, iterate_train_batches
from attncli.data.readers.image_folder import list_root
from attncli.data.readers.split_folders import find_split_folders
from attncli.recipe import Data
from attncli.system import hardware
from attncli.train import choose_device

WAYS = ("imagefolder", "decode", "cache")
RESIZED = (*WAYS, "jpeg")
SAMPLE_S = 0.02
Feed = Callable[[], int]  # feeds every image once and returns how many


@dataclass(frozen=True)
class ImageFolderSetting:
    """Images of `root` at `size` px, in batches; `cache` is a folder for decoded images.

    With `resized`, random parts of whole images are resized; otherwise their centre squares are shifted a little.
    """

    root: str
    cache: str
    size: int = 224
    batch_size: int = 64
    resized: bool = False


@dataclass(frozen=True, kw_only=True)
class DataBenchRow:
    """One way: throughput, its ratio to ImageFolder's (above 1: faster) and peak memory."""

    way: str
    images: int  # per turn
    rounds: int
    images_per_s: float  # median
    ratio: Sequence[float]  # quartiles and median
    own_mib: float  # memory of all its processes without mapped files, PyTorch's own included
    resident_mib: float  # with mapped files, whose pages the system frees if it needs memory


def build_imagefolder_feed(setting: ImageFolderSetting) -> Feed:
    """Return the feed of torchvision's ImageFolder."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    centre_crops = [
        transforms.Resize(setting.size),
        transforms.CenterCrop(setting.size),
        transforms.RandomCrop(setting.size, padding=setting.size // 8),
    ]
    transform_steps = [
        *([transforms.RandomResizedCrop(setting.size)] if setting.resized else centre_crops),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    top, folders = find_split_folders(Path(setting.root))
    train_folder = Path(setting.root) / top / folders["train"]
    images = datasets.ImageFolder(str(train_folder), transforms.Compose(transform_steps))
    device = choose_device()
    loader = DataLoader(
        images,
        batch_size=setting.batch_size,
        shuffle=True,
        num_workers=hardware.count_usable_cpus() or 1,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    return lambda: sum(len(x.to(device, non_blocking=True)) for x, _ in loader)


def build_decode_feed(setting: ImageFolderSetting) -> Feed:
    """Return the feed of attncli's first reading, which makes a new cache each time."""

    def feed_images() -> int:
        shutil.rmtree(setting.cache, ignore_errors=True)
        dataset = load_folder(setting)
        return sum(len(s) for s in (dataset.train, dataset.val, dataset.test) if s is not None)

    return feed_images


def build_cache_feed(setting: ImageFolderSetting) -> Feed:
    """Return the feed of attncli's batches from the cache."""
    return _build_batch_feed(setting, load_folder(setting))


def _build_batch_feed(setting: ImageFolderSetting, dataset: Dataset) -> Feed:
    epochs = count()
    layout = BatchLayout(batch_size=setting.batch_size, device=choose_device(), channels_last=True)

    def feed_images() -> int:
        batches = iterate_train_batches(dataset.train, dataset, layout, seed=0, epoch=next(epochs))
        return sum(len(x) for x, _ in batches)

    return feed_images


def build_jpeg_feed(setting: ImageFolderSetting) -> Feed:
    """Return the feed of attncli's batches, decoded when they are needed."""
    return _build_batch_feed(setting, load_folder(setting, decoded=False))


def load_folder(setting: ImageFolderSetting, *, decoded: bool = True) -> Dataset:
    """Load the folder as attncli reads it, without a validation split."""
    data_section = Data(
        name="folder", root=setting.root, image_size=setting.size, val_fraction=0.0,
        crop="resized" if setting.resized else "pad", decoded=decoded,
    )  # fmt: skip
    return data.load(data_section, cache=Path(setting.cache))


FEED_BUILDERS = {
    "imagefolder": build_imagefolder_feed,
    "decode": build_decode_feed,
    "cache": build_cache_feed,
    "jpeg": build_jpeg_feed,
}


def bench_data_loading(
    root: Path, size: int, batch_size: int, rounds: int, *, resized: bool = False
) -> list[DataBenchRow]:
    """Return one row per way. Raises UserError for an unusable folder, RunFailedError if a process dies."""
    list_root(root)
    with ExitStack() as stack:
        answers: dict[str, dict[str, Any]] = {}
        ways = RESIZED if resized else WAYS
        turns = {way: stack.enter_context(_feed_process(way, root, size, batch_size, resized, answers)) for way in ways}
        round_seconds = list(iterate_rounds(turns, rounds))
    return [
        summarize_way(way, answers[way], [{w: r[w] / answers[w]["images"] for w in ways} for r in round_seconds])
        for way in ways
    ]


@contextmanager
def _feed_process(
    way: str, root: Path, size: int, batch_size: int, resized: bool, answers: dict[str, dict[str, Any]]
) -> Iterator[Callable[[], float]]:
    """Start a way in its own process, warmed up; a turn returns its seconds and stores the answer in `answers`."""
    with tempfile.TemporaryDirectory() as temporary_folder:
        setting = ImageFolderSetting(str(root), str(Path(temporary_folder) / "cache"), size, batch_size, resized)
        with answering_process(way, [sys.executable, "-m", __name__, way, json.dumps(asdict(setting))]) as send_request:

            def run_turn() -> float:
                answers[way] = send_request()
                return float(answers[way]["seconds"])

            run_turn()
            yield run_turn


def summarize_way(way: str, answer: Mapping[str, Any], rounds: Sequence[Mapping[str, float]]) -> DataBenchRow:
    """Return the figures of one way, from its last answer and the seconds per image of all ways in each round."""
    return DataBenchRow(
        way=way,
        images=answer["images"],
        rounds=len(rounds),
        images_per_s=1 / statistics.median(r[way] for r in rounds),
        ratio=compute_quartiles([r["imagefolder"] / r[way] for r in rounds]),
        own_mib=answer["own"] / 2**20,
        resident_mib=answer["resident"] / 2**20,
    )


def format_data_row(row: DataBenchRow) -> dict[str, str]:
    """Format a row as text by column."""
    low, middle, high = row.ratio
    return {
        "way": row.way,
        "images/s": f"{row.images_per_s:,.0f}",
        "x imagefolder": f"{middle:.2f} ({low:.2f}-{high:.2f})",
        "own memory": f"{row.own_mib:,.0f} MiB",
        "with mapped files": f"{row.resident_mib:,.0f} MiB",
    }


class PeakMemoryWatcher(threading.Thread):
    """Watch the memory of this process and its children; `own` and `resident` are the peaks in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.resident = 0

    def run(self) -> None:
        """Measure the memory fifty times per second, until the process ends."""
        wait = threading.Event()
        while not wait.wait(SAMPLE_S):
            self.update_peaks()

    def update_peaks(self) -> None:
        """Add up the memory of the processes and update the peaks."""
        own = resident = 0
        this_process = psutil.Process()
        for process in (this_process, *this_process.children(recursive=True)):
            try:
                memory = process.memory_info()
            except psutil.NoSuchProcess:  # it has ended
                continue
            own += memory.rss - getattr(memory, "shared", 0)  # Linux reports the part backed by files
            resident += memory.rss
        self.own, self.resident = max(self.own, own), max(self.resident, resident)


def write_noise_folder(root: Path, images: int = 240, size: tuple[int, int] = (500, 375)) -> Path:
    """Write JPEGs of smooth noise of `size` (W, H) in two classes, one sixth of them for testing; return the folder."""
    generator = np.random.default_rng(0)
    for i in range(images):
        path = root / ("test" if i % 6 == 0 else "train") / f"class{i // 6 % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def main(way: str, setting_json: str) -> None:
    """Run the process of a way: every image once per line on stdin."""
    feeds: list[Feed] = []
    peak = PeakMemoryWatcher()
    peak.start()

    def run_turn() -> dict[str, Any]:
        if not feeds:
            feeds.append(FEED_BUILDERS[way](ImageFolderSetting(**json.loads(setting_json))))
        images = feeds[0]()
        peak.update_peaks()
        return {"images": images, "own": peak.own, "resident": peak.resident}

    serve_requests(run_turn)


if __name__ == "__main__":
    main(*sys.argv[1:])
