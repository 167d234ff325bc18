"""Inputs of public bug reports, and what may be said of the result; the rows are in bug_log.py and bug_log_runs.py.

Images are 16 px of noise, red in class a and green in class b, so that a network learns them in a few epochs.
"""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from tests.commands.line import Done, line

CLASSES = {"a": 0, "b": 1}  # the plane that is bright


@dataclass(frozen=True)
class Row:
    """A row of the log: `attempt` makes the input below a folder and returns what came of it, `is_right` judges it."""

    name: str
    source: str
    input: str
    attempt: Callable[[Path], Done]
    is_right: Callable[[Done], bool]
    is_slow: bool = False  # many networks, or processes of its own


def draw_image(seed: int, plane: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """A noise image (W, H) = size with one bright plane."""
    pixels = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., plane] += 150
    return Image.fromarray(pixels)


def encode_png(image: Image.Image) -> bytes:
    """The image as the bytes of a PNG."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def make_folder(root: Path, splits: Sequence[str] = ("train", "test"), each: int = 12) -> Path:
    """SPLIT/CLASS/*.png, every image another."""
    for number, split in enumerate(splits):
        for name, plane in CLASSES.items():
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(each):
                draw_image(1000 * number + 100 * plane + i, plane).save(folder / f"{i}.png")
    return root


def make_table(split: int, *, each: int = 8, order: Sequence[str] = ("a", "b"), **columns: Any) -> pa.Table:
    """A table of images and labels as Hugging Face writes it; `columns` replace its columns, None leaves one out."""
    classes = [name for name in order for _ in range(each)]
    images = [
        encode_png(draw_image(1000 * split + 100 * CLASSES[name] + i, CLASSES[name])) for i, name in enumerate(classes)
    ]
    values: dict[str, Any] = {
        "image": pa.array([{"bytes": image, "path": None} for image in images]),
        "label": pa.array([list(order).index(name) for name in classes]),
    }
    values |= {name: column(images, classes) if callable(column) else column for name, column in columns.items()}
    return pa.table({name: column for name, column in values.items() if column is not None})


def write_tables(root: Path, names: Sequence[str] = ("train", "test"), **keys: Any) -> Path:
    """A folder with one Parquet file per name."""
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(make_table(number, **keys), root / f"{name}.parquet")
    return root


def name_classes(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The table with Hugging Face's names of the classes in its schema."""
    features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
    return table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})


def run(place: Path, root: Path | None, *words: str, dataset: str = "folder", epochs: int = 1) -> Done:
    """Train resnet20 on the images; runs are below `place`."""
    data = () if root is None else ("--dataset", dataset, "--data-root", str(root))
    tiny = ("--backbone", "resnet20", "--epochs", str(epochs), "--set", "measure.speed=false")
    return line("run", *data, *tiny, "--set", "train.batch_size=8", "--json", "--runs", str(place / "runs"), *words)


def read(place: Path, root: Path, *words: str, dataset: str = "folder") -> Done:
    """Read and decode the images as a run does, without training."""
    runs = ("--runs", str(place / "runs"))
    return line("data", "prepare", dataset, "--data-root", str(root), "--json", *runs, *words)


def check(*words: str) -> Done:
    """Read a recipe."""
    return line("check", *words)


def verify(root: Path, dataset: str = "folder") -> Done:
    """Verify a folder."""
    return line("data", "verify", dataset, "--data-root", str(root))


def is_trained(done: Done) -> bool:
    """Whether a run finished."""
    return done.code == 0 and json.loads(done.out)["status"] == "FINISHED"


def is_read(train: int, test: int) -> Callable[[Done], bool]:
    """Whether so many images were read; validation images count as training images."""

    def judge(done: Done) -> bool:
        images = json.loads(done.out)["images"] if done.code == 0 else {}
        return done.code == 0 and (images["train"] + images.get("val", 0), images["test"]) == (train, test)

    return judge


def is_refused(*words: str) -> Callable[[Done], bool]:
    """Whether a command ended with exit code 2, one error, a hint, and these words."""

    def judge(done: Done) -> bool:
        is_clear = done.code == 2 and "  hint: " in done.err and "Traceback" not in done.err
        return is_clear and all(word in done.err for word in words)

    return judge


def has_words(*words: str, code: int = 0) -> Callable[[Done], bool]:
    """Whether a command ended with the exit code and printed these words."""
    return lambda done: done.code == code and all(word in done.out + done.err for word in words)


def has_top1(low: float, high: float = 1.0) -> Callable[[Done], bool]:
    """Whether a run finished with an accuracy in a range."""
    return lambda done: is_trained(done) and low <= json.loads(done.out)["test_top1"] <= high


def swap_classes(place: Path) -> Done:
    """A1: train, swap the folders of two classes, train again."""
    root = make_folder(place / "x")
    first = run(place, root, epochs=6)
    (root / "train/a").rename(root / "train/c")
    (root / "train/b").rename(root / "train/a")
    (root / "train/c").rename(root / "train/b")
    again = run(place, root, epochs=6)
    accuracies = [json.loads(done.out)["test_top1"] for done in (first, again)]
    return Done(again.code, json.dumps({"first": accuracies[0], "again": accuracies[1]}), again.err)


def add_images_between_seeds(place: Path) -> Done:
    """A2: seed 0 of two variants, more images, seed 1; then compare."""
    root = make_folder(place / "x", each=6)
    for seed in (0, 1):
        for attn in ("none", "eca"):
            run(place, root, "--attn", attn, "--seed", str(seed))
        draw_image(99, 0).save(root / "train/a/99.png")
    return line("compare", "--no-plot", "--json", "--runs", str(place / "runs"))


def try_two_orders(place: Path) -> Done:
    """A6: the schema of train names cat, dog, that of test dog, cat."""
    root = place / "x"
    root.mkdir()
    pq.write_table(name_classes(make_table(0, order=("a", "b")), ("cat", "dog")), root / "train.parquet")
    pq.write_table(name_classes(make_table(1, order=("b", "a")), ("dog", "cat")), root / "test.parquet")
    return run(place, root, dataset="parquet", epochs=8)


def make_transparent(place: Path) -> Path:
    """A7: a white square on full transparency, whose hidden colour is the class."""
    for split in ("train", "test"):
        for name, plane in CLASSES.items():
            (place / "x" / split / name).mkdir(parents=True)
            for i in range(24):
                draws = np.random.default_rng([i, plane, split == "train"])
                pixels = np.zeros((16, 16, 4), np.uint8)
                pixels[..., plane] = 250
                y, x = draws.integers(0, 12, 2)
                pixels[y : y + 4, x : x + 4] = 255
                Image.fromarray(pixels).save(place / "x" / split / name / f"{i}.png")
    return place / "x"


def make_deep_grey(place: Path) -> Path:
    """A8: 16-bit grey images that hold 8-bit values."""
    for split in ("train", "test"):
        for name, value in (("a", 40), ("b", 200)):
            (place / "x" / split / name).mkdir(parents=True)
            for i in range(8):
                noise = np.random.default_rng([i, value, split == "train"]).integers(-30, 30, (16, 16))
                Image.fromarray((value + noise).astype(np.uint16)).save(place / "x" / split / name / f"{i}.png")
    return place / "x"


def make_rotated(place: Path) -> Path:
    """A10: JPEGs with EXIF orientation 3 and 6."""
    root = make_folder(place / "x", each=4)
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        draw_image(orientation, 0).save(root / f"train/a/r{orientation}.jpg", exif=exif)
    return root


def copy_test_from_train(place: Path) -> Path:
    """A12: test is a copy of train, and one picture is in two classes."""
    root = make_folder(place / "x", ("train",), each=4)
    shutil.copytree(root / "train", root / "test")
    shutil.copy(root / "train/a/0.png", root / "train/b/0-again.png")
    return root


def add(root: Path, **files: bytes) -> Path:
    """The folder with more files; two underscores stand for a slash and _DOT_ for a dot."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def link_to_nothing(place: Path) -> Path:
    """B2: a link whose target is gone."""
    root = make_folder(place / "x", each=4)
    (root / "train/a/gone.png").symlink_to(place / "nowhere.png")
    return root


def name_in_latin1(place: Path) -> Path:
    """B4: a file and a class whose names are not UTF-8."""
    root = make_folder(place / "x", each=4)
    os.rename(os.fsencode(root / "train/a/0.png"), os.fsencode(root / "train/a") + b"/caf\xe9.png")
    return root


def empty_table(split: str) -> Callable[[Path], Path]:
    """B6: no rows in a split."""

    def make(place: Path) -> Path:
        root = write_tables(place / "x")
        pq.write_table(make_table(0).slice(0, 0), root / f"{split}.parquet")
        return root

    return make


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Any:
    """Set variables for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def try_world_size(place: Path) -> Done:
    """B8: WORLD_SIZE left in the environment."""
    with environment({"WORLD_SIZE": "2"}):
        return run(place, None, "--set", "data.per_class=8")


def damage_store(place: Path) -> Done:
    """B1: the store that a killed migration left; `doctor --repair` and the same call."""
    import sqlite3

    run(place, None, "--set", "data.per_class=8")
    with contextlib.closing(sqlite3.connect(place / "runs/mlflow.db")) as connection:
        connection.execute("CREATE TABLE _alembic_tmp_metrics (x)")
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        connection.commit()
    refused = run(place, None, "--set", "data.per_class=8", "--seed", "1")
    if refused.code != 2 or "doctor --repair" not in refused.err:
        return refused
    line("doctor", "--repair", "--runs", str(place / "runs"))
    return run(place, None, "--set", "data.per_class=8", "--seed", "1")


LABELS: dict[str, Callable[[Sequence[bytes], Sequence[str]], pa.Array]] = {
    "large_string": lambda _, names: pa.array(names, pa.large_string()),
    "string_view": lambda _, names: pa.array(names, pa.string_view()),
    "dictionary": lambda _, names: pa.array(names).dictionary_encode(),
    "bool": lambda _, names: pa.array([name == "a" for name in names]),
    "float": lambda _, names: pa.array([float(CLASSES[name]) for name in names]),
}


def try_label(kind: str) -> Callable[[Path], Done]:
    """C1: a column of labels of a type."""
    return lambda place: read(place, write_tables(place / "x", label=LABELS[kind]), dataset="parquet")


def omit_class(place: Path) -> Path:
    """C5: the schema names cat, dog and cow, and no image is a cow."""
    root = place / "x"
    root.mkdir()
    for number, name in enumerate(("train", "test")):
        pq.write_table(name_classes(make_table(number), ("cat", "dog", "cow")), root / f"{name}.parquet")
    return root


def try_weights(wrap: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Done]:
    """C8, C9: a checkpoint as a training script writes it."""

    def attempt(place: Path) -> Done:
        from attncli import model, recipe
        from attncli.errors import UserError

        spec, notes = model.InputSpec(10, (8, 8)), []
        net = model.build(recipe.read(values={"model.backbone": "resnet20", "seed": 1}), spec)
        torch.save(wrap(net.state_dict()), place / "weights.pth")
        values = {"model.backbone": "resnet20", "model.pretrained": str(place / "weights.pth")}
        try:
            loaded = model.build(recipe.read(values=values), spec, notes.append)
        except UserError as error:
            return Done(2, "", f"Error: {error.problem}")
        is_same = all(torch.equal(t, net.state_dict()[name]) for name, t in loaded.state_dict().items())
        return Done(0 if is_same else 1, "", notes[0])

    return attempt


def add_prefix(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors under a prefix."""
    return {prefix + name: tensor for name, tensor in state.items()}


def try_runs_folder(name: str) -> Callable[[Path], Done]:
    """C19: a folder of runs of that name."""

    def attempt(place: Path) -> Done:
        tiny = ("--backbone", "resnet20", "--epochs", "1", "--set", "measure.speed=false", "--set", "data.per_class=8")
        done = line("run", *tiny, "--json", "--runs", name)
        return done if (place / name / "mlflow.db").exists() else Done(3, "", f"no database in {name}")

    return attempt


def make_huge(place: Path) -> Path:
    """C10: a PNG of 20,000 x 10,000 pixels."""
    root = make_folder(place / "x", each=4)
    Image.new("1", (20_000, 10_000)).save(root / "train/a/huge.png")
    return root


def write_plugin(place: Path) -> Path:
    """C20: a mechanism that imports a module beside it."""
    from tests.commands import plugins

    (place / "helper.py").write_text("FACTOR = 1.0\n")
    return Path(plugins.write(place / "mine.py", first="from helper import FACTOR\n"))


def rename_classes(place: Path, *names: str) -> Path:
    """A folder whose classes have these names."""
    root = make_folder(place / "x", each=4)
    for split in ("train", "test"):
        for old, new in zip(CLASSES, names, strict=False):
            (root / split / old).rename(root / split / new)
    return root


def write_recipe(place: Path, text: str) -> str:
    """A recipe of this text."""
    (place / "mine.yaml").write_bytes(text.encode())
    return str(place / "mine.yaml")
