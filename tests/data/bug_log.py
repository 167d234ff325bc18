"""The inputs of public bug reports, made and tried: what attncli does with each of them now.

    python -m tests.data.bug_log          all rows, a line each; exit code 1 if one is not as it should be
    python -m tests.data.bug_log A3 C1    these rows

A row names the reports that it is after, the input, and what is right. Images are 16 px of noise, red in class a and
green in class b, so that a network learns them in a few epochs. tests/data/test_bug_log.py tries the cheap rows.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
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


RECIPES = [
    ("numbers as YAML 1.2 has them", "train: {lr: 1e-3, weight_decay: 5E-4}\r\n", lambda d: d.code == 0),
    ("a mark of the encoding", "\ufefftrain:\n  epochs: 3\n", lambda d: d.code == 0),
    ("JSON", '{"train": {"epochs": 3}}', lambda d: d.code == 0),
    ("tabs", "train:\n\tepochs: 3\n", is_refused("mine.yaml")),
    ("two documents", "train: {epochs: 3}\n---\ntrain: {epochs: 4}\n", is_refused("mine.yaml")),
    ("python tags", "train: !!python/object/apply:os.system [id]\n", is_refused("mine.yaml")),
    ("hydra's defaults", "defaults: [base]\ntrain: {epochs: 3}\n", is_refused("defaults")),
]
PARQUET_SPLITS = {"Train+Test": ("Train", "Test"), "train+dev": ("train", "dev"),
                  "training+testing": ("training", "testing")}  # fmt: skip
SIZED = ("--image-size", "16")
ROWS = [
    Row("A1", "ultralytics/yolov5 #306, fiftyone #119", "swap two classes, the same call", swap_classes,
        lambda d: d.code == 0 and json.loads(d.out)["first"] == 1 and json.loads(d.out)["again"] == 0),
    Row("A2", "the same", "images added between seed 0 and 1; compare", add_images_between_seeds,
        lambda d: d.code == 0 and sorted((r["attn"], r["pairs"]) for r in json.loads(d.out)) ==
        [("eca", 1), ("eca", 1), ("none", 0), ("none", 0)]),
    *(Row(f"A3 {kind}", "huggingface/datasets #4839, #7529", f"Parquet {kind}",
          lambda p, names=names: read(p, write_tables(p / "x", names), dataset="parquet"), is_read(16, 16))
      for kind, names in PARQUET_SPLITS.items()),
    Row("A3 extra", "the same", "Parquet train, test, extra",
        lambda p: read(p, write_tables(p / "x", ("train", "test", "extra")), dataset="parquet"), is_refused("extra")),
    Row("A5", "pytorch/vision #2831, mmpretrain #507", "a copy in .cache/", lambda p: read(
        p, write_tables(write_tables(p / "x") / ".cache", ("train",)).parent, dataset="parquet"),
        lambda d: is_read(16, 16)(d) and not json.loads(d.out)["warnings"]),
    Row("A6", "weecology/DeepForest PR #1147, timm #957", "orders of classes differ between files", try_two_orders,
        has_top1(1.0)),
    Row("A7", "kohya-ss/sd-scripts #1269, vision #5510", "the hidden colour is the class",
        lambda p: run(p, make_transparent(p), epochs=6),
        lambda d: has_top1(0.2, 0.8)(d) and "transparen" in d.err),
    Row("A8", "Pillow #2574, keras-preprocessing #227", "16-bit grey of 8-bit content",
        lambda p: run(p, make_deep_grey(p), epochs=6), lambda d: has_top1(1.0)(d) and "images of 16 bits" in d.err),
    Row("A10", "D-FINE #308, yolov5 #405", "EXIF orientation 3 and 6", lambda p: verify(make_rotated(p)),
        has_words("2 ", "orientation")),
    Row("A11", "huggingface/datasets #4839, Roboflow", "train/ valid/ test/",
        lambda p: verify(make_folder(p / "x", ("train", "valid", "test"), 4)), has_words("val")),
    Row("A11 no test", "the same", "train/ valid/", lambda p: read(p, make_folder(p / "x", ("train", "valid"), 4)),
        is_read(8, 8)),
    Row("A12", "deepchecks #850, fashion-mnist #44", "test is a copy of train",
        lambda p: verify(copy_test_from_train(p)), has_words("two", code=1)),
    Row("A14", "timm #957", "data.classes=1 of two", lambda p: read(
        p, rename_classes(p, "10", "9"), "--set", "data.classes=2"), is_read(8, 8)),
    Row("A16", "Dynamic-convolution-Pytorch #16", "dyconv for two epochs", lambda p: run(
        p, None, "--attn", "dyconv", "--set", "data.per_class=8", epochs=2), lambda d: is_trained(d) and "is cut off"
        in d.err),
    Row("B1", "mlflow #19943, #19299", "the store of a killed migration", damage_store, is_trained),
    Row("B2", "Endoscapes #1, datasets #5098", "a link without a target", lambda p: read(p, link_to_nothing(p)),
        is_refused("a link without a target")),
    Row("B4", "dupeguru #335, llama_index #10369", "a name in latin-1", lambda p: read(p, name_in_latin1(p)),
        lambda d: d.code in (0, 2) and "Traceback" not in d.err),
    *(Row(f"B6 {split}", "huggingface/datasets PR #7779", f"no rows in {split}",
          lambda p, split=split: read(p, empty_table(split)(p), dataset="parquet"), is_refused("no "))
      for split in ("test", "train")),
    Row("B8", "unsloth #2266, pytorch/examples #458", "WORLD_SIZE=2 alone", try_world_size, is_refused("WORLD_SIZE")),
    *(Row(f"C1 {kind}", "polars #15047, pandas #51845", f"labels as {kind}", try_label(kind), is_read(16, 16))
      for kind in LABELS),
    Row("C2", "BigDL PR #3895", "images as plain binary", lambda p: read(
        p, write_tables(p / "x", image=lambda images, _: pa.array(images)), dataset="parquet"), is_read(16, 16)),
    Row("C3", "transformers PR #31379", "img, fine_label, coarse_label", lambda p: read(
        p, write_tables(p / "x", image=None, label=None, img=lambda images, _: pa.array(images),
                        fine_label=lambda _, names: pa.array([CLASSES[n] for n in names]),
                        coarse_label=lambda _, names: pa.array([0 for _ in names])),
        "--set", "data.label_column=fine_label", dataset="parquet"), is_read(16, 16)),
    Row("C5", "vision #4925, #8297", "a class without images", lambda p: read(p, omit_class(p), dataset="parquet"),
        is_read(16, 16)),
    Row("C5 chosen", "the same", "and classes chosen", lambda p: read(
        p, omit_class(p), "--set", "data.classes=[cat,dog]", dataset="parquet"), is_read(16, 16)),
    Row("C6", "ultralytics #13936", "a class in train only", lambda p: read(
        p, add(make_folder(p / "x", each=4), train__c__0_DOT_png=encode_png(draw_image(7, 2)))),
        is_refused("'c'", "data.classes")),
    Row("C7", "datasets PR #4987", "a path in place of bytes", lambda p: read(
        p, write_tables(p / "x", image=lambda images, _: pa.array(
            [{"bytes": None, "path": "gone.png"} for _ in images])), dataset="parquet"), is_refused("gone.png")),
    Row("C8", "vision references/classification", "argparse.Namespace in a checkpoint", try_weights(
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)}), has_words("97 of 97")),
    *(Row(f"C9 {prefix}", "ECANet #43, DepthContrast #13", f"names under {prefix}", try_weights(
        lambda state, prefix=prefix: {"state_dict": add_prefix(state, prefix)}), has_words("97 of 97"))
      for prefix in ("module.", "model.", "backbone.", "module.encoder_q.", "_orig_mod.")),
    Row("C10", "MONAILabel #1230, detectron2 #1221", "20,000 x 10,000 px", lambda p: read(p, make_huge(p), *SIZED),
        is_refused("data.max_pixels")),
    Row("C10 key", "the same", "with data.max_pixels", lambda p: read(
        p, make_huge(p), *SIZED, "--set", "data.max_pixels=300000000"), is_read(9, 8)),
    Row("C11", "vision #138, SKU110K #23", "a truncated JPEG, data.bad=skip", lambda p: read(
        p, add(make_folder(p / "x", each=4), train__a__cut_DOT_jpg=b"\xff\xd8\xff\xe0\0\x10JFIF"), "--set",
        "data.bad=skip"), lambda d: is_read(8, 8)(d) and "cut.jpg" in d.out),
    Row("C12", "bnn #17, BiaPy #125", "labels.txt, _annotations.csv, __MACOSX/", lambda p: read(
        p, (add(make_folder(p / "x", each=4), train__a__labels_DOT_txt=b"a", train___annotations_DOT_csv=b"a"),
            (p / "x/train/__MACOSX").mkdir())[0]), is_read(8, 8)),
    Row("C14", "huggingface/datasets #4839", "Training/ Testing/", lambda p: read(
        p, make_folder(p / "x", ("Training", "Testing"), 4)), is_read(8, 8)),
    Row("C15", "yolov5 #4912, split-folders #49", "CLASS/* without splits", lambda p: read(
        p, make_folder(p / "x", ("",), 12)), is_read(19, 5)),
    Row("C16", "kirby #1024, snips-nlu #772", "data.classes=[yes,no]", lambda _: check(
        "--set", "data.classes=[yes,no]"), is_refused("quotes")),
    Row("C16 numbers", "the same", "data.classes=[1,2,10]", lambda _: check(
        "--set", "data.classes=[1,2,10]"), is_refused("quotes")),
    Row("C18", "YijinHuang/pytorch-classification #6", "--image-size 24x16", lambda p: read(
        p, make_folder(p / "x", each=4), "--image-size", "24x16"), is_read(8, 8)),
    *(Row(f"C19 {name}", "MONAI PR #9032", f"--runs {name}", try_runs_folder(name), is_trained)
      for name in ("r%41", "r?q", "r#h")),
    Row("C20", "modules of zoos import their siblings", "a mechanism with a module beside it", lambda p: run(
        p, None, "--attn", str(write_plugin(p)), "--set", "data.per_class=8"), is_trained),
    *(Row(f"D1 {name}", "names of repositories", f"--attn {name}", lambda _, name=name: check("--attn", name),
          is_refused(f"'{meant}'"))
      for name, meant in (("senet", "se"), ("coordatt", "ca"), ("nonlocal", "self-attention"), ("skconv", "sk"))),
    Row("D2", "own", "--attn ECA", lambda _: check("--attn", "ECA"), is_refused("'eca'")),
    Row("D3 --lr", "habits of timm and hydra", "--lr 0.1", lambda _: line("run", "--lr", "0.1"), has_words(
        "train.lr", code=2)),
    Row("D3 word", "the same", "run model.attn=eca", lambda _: line("run", "model.attn=eca"), is_refused(
        "--set model.attn=eca")),
    Row("D4", "FcaNet #21, SimAM #13", "classes named in Chinese", lambda p: line(
        "data", "show", "folder", "--data-root", str(rename_classes(p, "\u732b", "\u72d7"))),
        lambda d: d.code == 0 and "UserWarning" not in d.err),
    Row("D5", "mmpretrain #667, timm #807", "two classes: no top-5", lambda p: run(p, make_folder(p / "x", each=4)),
        lambda d: is_trained(d) and json.loads(d.out)["test_top5"] is None),
    Row("D9", "own", "an experiment name of 600 letters", lambda _: check("--set", f"experiment={'x' * 600}"),
        is_refused("experiment")),
    *(Row(f"E1 {kind}", "yacs #46, LlamaFactory #4014", f"a recipe with {kind}",
          lambda p, text=text: check(write_recipe(p, text)), is_right)
      for kind, text, is_right in RECIPES),
    *(Row(f"E4 {attn} {option}", "senet.pytorch #13, timm #260", f"--attn {attn}, {option}",
          lambda _, attn=attn, option=option: check("--attn", attn, "--set", f"model.options.{option}"),
          is_refused(f"model.options.{option.partition('=')[0]}"))
      for attn, option in (("se", "reduction=1.5"), ("eca", "k=x"), ("se", "ratio=4"))),
]  # fmt: skip


def describe(done: Done) -> str:
    """The exit code and the first line that says something."""
    if done.code == 0 and done.out.startswith("{"):
        values = json.loads(done.out)
        keys = ("status", "test_top1", "first", "again", "images", "notes", "warnings")
        return f"exit 0, {', '.join(f'{k} {values[k]}' for k in keys if values.get(k) not in (None, []))}"[:200]
    lines = [text.strip() for text in (done.err + done.out).splitlines() if text.strip()]
    first = next((text for text in lines if text.startswith("Error")), lines[0] if lines else "")
    return f"exit {done.code}, {first[:160]}"


def try_row(row: Row, folder: Path) -> tuple[bool, str]:
    """Return whether a row is right now, and its line of the table."""
    place = folder / row.name.replace(" ", "-").replace("?", "_").replace("%", "_")
    place.mkdir(parents=True)
    with contextlib.chdir(place):
        done = row.attempt(place)
    good = row.is_right(done)
    shutil.rmtree(place, ignore_errors=True)
    return good, f"| {row.name} | {row.source} | {row.input} | {describe(done)} | {'right' if good else 'WRONG'} |"


def main(names: Sequence[str]) -> int:
    """Try the rows and print a line each; return the number of rows that are wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if not names or row.name in names or row.name.split()[0] in names:
                good, text = try_row(row, Path(folder))
                wrong += not good
                print(text, flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
