"""Made garbage for the readers of images: folders, tables and lists as people bring them, drawn from a seed."""

import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = (
    b"train", b"Train", b"test", b"testing", b"val", b"valid", b"extra", b"train_test", b"cat", b"dog", b"owl", b"Cat",
    b"caf\xe9", b"a\nb", b".hidden", b"__MACOSX", b"Thumbs.db", b"labels.txt", b"_annotations.csv", b"%41 #?;'$",
    "猫 \U0001f408".encode(), b"0", b"10", b"-1", b"a" * 200, b"images", b"0.png", b"1.jpg", b"2.heic", b"x.parquet",
)  # fmt: skip
VIEWS = (pa.binary_view(), pa.string_view()) if int(pa.__version__.split(".")[0]) >= 21 else ()  # 20 writes none
SPLITS, CLASSES = (b"train", b"test", b"val", b"Training", b"validation"), (b"cat", b"dog", b"caf\xe9", b"a b")


def encode_image(rng: random.Random) -> bytes:
    """An image in a random mode, format and size."""
    mode = rng.choice(["RGB"] * 40 + ["L", "P", "1", "RGBA", "LA", "CMYK", "I;16", "I", "F"])
    name = rng.choice({"CMYK": ["JPEG", "TIFF"], "I": ["TIFF"], "F": ["TIFF"], "I;16": ["PNG", "TIFF"],
                       "RGB": ["PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM"]}.get(mode, ["PNG"]))  # fmt: skip
    out = io.BytesIO()
    Image.new(mode, rng.choice([(8, 8)] * 4 + [(1, 1), (3, 900), (9, 8)])).save(out, name)
    return out.getvalue()


def encode_plain(rng: random.Random) -> bytes:
    """A PNG of noise."""
    out = io.BytesIO()
    Image.frombytes("RGB", (8, 8), rng.randbytes(192)).save(out, "PNG")
    return out.getvalue()


def make_content(rng: random.Random) -> bytes:
    """The content of a file: mostly an image, else one that is cut, changed, or something else."""
    content = encode_image(rng)
    kind = rng.randrange(60)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        position = rng.randrange(len(content))
        return content[:position] + rng.randbytes(4) + content[position + 4 :]
    if kind == 2:
        return rng.choice([b"", b"\x00", b"no image", rng.randbytes(40), b"\xff\xd8\xff", b"\x00\x00\x00\x18ftypheic"])
    return content


def fill_folder(rng: random.Random, folder: bytes, depth: int) -> None:
    """Files, folders, links and pipes below a folder."""
    for _ in range(rng.randrange(5)):
        path = os.path.join(folder, rng.choice(NAMES))
        if os.path.lexists(path):
            continue
        kind = rng.randrange(10)
        if kind == 0:
            os.symlink(rng.choice([b"gone", b".", b"..", b"../..", os.path.basename(path), b"../cat"]), path)
        elif kind == 1:
            os.mkfifo(path)
        elif kind < 5 and depth:
            os.mkdir(path)
            fill_folder(rng, path, depth - 1)
        else:
            with open(path, "wb") as file:
                file.write(make_content(rng))


def make_folder(rng: random.Random, root: Path) -> dict[str, Any]:
    """A folder of classes, more or less, with anything else in it."""
    base = os.fsencode(root)
    os.mkdir(base)
    splits = rng.choice([(b"train", b"test")] * 6 + [(b"",), (b"train",), rng.sample(SPLITS, 2), rng.sample(SPLITS, 3)])
    for split in splits:
        for name in rng.sample(CLASSES, rng.randrange(1, 4)) if rng.random() < 0.1 else CLASSES[:2]:
            folder = os.path.join(base, split, name)
            os.makedirs(folder, exist_ok=True)
            for number in range(rng.choice([0, 1, 2, 2, 3, 3, 3])):
                with open(os.path.join(folder, b"%d.png" % number), "wb") as file:
                    file.write(make_content(rng))
            if rng.random() < 0.1:
                fill_folder(rng, folder, 1)
    if rng.random() < 0.2:
        fill_folder(rng, base, 2)
    return {"name": "folder", "root": str(root)}


def make_images(rng: random.Random, count: int) -> Any:
    """A column of images of a random type, with nulls."""
    is_plain = rng.random() < 0.7  # all images as they should be, so that other garbage is reached
    cells: list[Any] = [
        encode_plain(rng) if is_plain else None if rng.random() < 0.01 else make_content(rng) for _ in range(count)
    ]
    kind = rng.randrange(20)
    if kind == 0:
        return pa.array([str(cell)[:9] for cell in cells], pa.string())
    if kind == 1:
        return pa.array(cells, rng.choice([pa.binary(), pa.large_binary(), *VIEWS[:1]]))
    if kind == 2:
        return pa.array(range(count))
    named = [{"bytes": cell, "path": rng.choice([None, "x.png", "../../..", "/dev/null"])} for cell in cells]
    return pa.array(named, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def make_labels(rng: random.Random, count: int, kind: int | None = None) -> Any:
    """A column of labels of a random type, with nulls; `kind` 0 = whole numbers."""
    numbers: list[Any] = [rng.randrange(3) for _ in range(count)]
    if rng.random() < 0.1 and count:
        numbers[0] = rng.choice([None, -1, 10**15, 7])
    texts = [None if number is None else rng.choice(["a", "b"] * 5 + [" ", "a\nb", "猫"]) for number in numbers]
    if kind == 0:
        return pa.array(numbers, rng.choice([pa.int64(), pa.int64(), pa.float64()]))
    return rng.choice(
        [
            lambda: pa.array([n and n + 0.5 * (rng.random() < 0.05) for n in numbers], pa.float64()),
            lambda: pa.array([None if n is None else n > 0 for n in numbers], pa.bool_()),
            lambda: pa.array(texts, rng.choice([pa.string(), pa.large_string(), *VIEWS[1:]])),
            lambda: pa.array([text or "a" for text in texts]).dictionary_encode(),
            lambda: pa.array([b"\xff" if text else None for text in texts], pa.binary()).view(pa.string()),
            lambda: pa.array([[n] for n in numbers]),
            lambda: pa.array(np.zeros(count, "datetime64[s]")),
        ]
    )()


def make_metadata(rng: random.Random) -> dict[bytes, bytes]:
    """A schema's metadata: Hugging Face's, or something like it."""
    names: Any = rng.choice(
        [["a", "b", "c"], ["c", "a", "b"], ["a", "a"], [], [1, 2, 3], "abc", None, ["a\nb", "c", "d"]]
    )
    features: Any = rng.choice([{"label": {"names": names}}, [], None, {"label": 3}, {"label": []}])
    value: Any = rng.choice([{"info": {"features": features}}, {"info": 1}, [], 3])
    return {rng.choice([b"huggingface", b"pandas"]): rng.choice([json.dumps(value).encode(), b"{", b"\xff"])}


def make_parquet(rng: random.Random, root: Path) -> dict[str, Any]:
    """A folder of Parquet files with columns of any type, some of them broken."""
    root.mkdir()
    names = ("train.parquet", "test.parquet", "Valid-0.parquet", "x.parquet", "a/train.parquet", "train/0.parquet")
    parts = ("label=a/0.parquet", "label=b/1.parquet", "label=%FF/0.parquet", "kind=1/label=a/0.parquet",
             "=/0.parquet", "label=__HIVE_DEFAULT_PARTITION__/0.parquet", "split=test/kind=2/0.parquet",
             "kind=/0.parquet")  # fmt: skip
    kind = rng.choice([0, 0, 0, None])
    usual = rng.choice([("train.parquet", "test.parquet")] * 4 + [("x.parquet",), parts[:2], rng.sample(parts, 3)])
    for name in rng.sample(names, rng.randrange(1, 4)) if rng.random() < 0.3 else usual:
        path, count = root / name, rng.choice([0, 1, 6, 6, 6])
        path.parent.mkdir(exist_ok=True, parents=True)
        columns = {rng.choice(["image"] * 8 + ["img", "picture"]): make_images(rng, count)}
        if "=" not in name or rng.random() < 0.2:
            columns[rng.choice(["label"] * 8 + ["labels", "kind"])] = make_labels(rng, count, kind)
        if rng.random() < 0.2:
            words = rng.choices(["train"] * 6 + ["test"] * 3 + ["extra", None, "\u732b"], k=count)
            columns[rng.choice(["split", "Set"])] = pa.array(words, rng.choice([pa.string(), pa.large_string()]))
        if rng.random() < 0.2:
            columns[rng.choice(["id", "fine_label", "image"])] = make_labels(rng, count)
        table = pa.table(columns)
        table = table.replace_schema_metadata(make_metadata(rng)) if rng.random() < 0.6 else table
        pq.write_table(table, path, row_group_size=4)
        if rng.random() < 0.05:
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content))] ^= 255
            path.write_bytes(content[: rng.choice([len(content), len(content) // 2])])
    key = rng.choice([{}] * 12 + [{"image_column": "picture"}, {"label_column": "kind"}, {"label_column": "none"}])
    return {"name": "parquet", "root": str(root), **key}


def make_imagenet(rng: random.Random, root: Path) -> dict[str, Any]:
    """ImageNet's layout with a file of labels that may be anything."""
    root.mkdir()
    for name in ("n01", "n02"):
        (root / "train" / name).mkdir(parents=True)
        (root / "train" / name / "0.JPEG").write_bytes(make_content(rng))
    (root / "val").mkdir()
    for number in range(rng.choice([0, 1, 3, 3, 3])):
        (root / "val" / f"{number}.JPEG").write_bytes(make_content(rng))
    lists = ("LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt",
             "ILSVRC2012_validation_ground_truth.txt", "val.txt", "meta.mat")  # fmt: skip
    words = (b"0.JPEG", b"0", b"1", b"n01", b"n02", b"n01 1 2", b",", b" ", b"\xff", b"ImageId,PredictionString", b"\0")
    for name in rng.sample(lists, rng.randrange(3)):
        lines = [rng.choice([b" ", b","]).join(rng.choices(words, k=rng.randrange(4))) for _ in range(rng.randrange(5))]
        (root / name).write_bytes(b"\n".join(lines))
    if rng.random() < 0.5:
        (root / "val.txt").write_bytes(b"".join(b"%d.JPEG n0%d\n" % (i, 1 + i % 2) for i in range(3)))
    return {"name": "imagenet", "root": str(root)}


def make_table(rng: random.Random, root: Path) -> dict[str, Any]:
    """A folder of images with lists of any form."""
    root.mkdir()
    is_plain = rng.random() < 0.7  # all images as they should be, so that other garbage is reached
    for number in range(6):
        folder = root / ("" if is_plain else rng.choice(["", "", "train", "test"]))
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(encode_plain(rng) if is_plain else make_content(rng))
    headers = (*[b"path,label"] * 7, b"id,a,b", b"filename;class;split", b"", b"\xff", b"path,path", b"label")
    cells = (b"a", b"b", b"0", b"1", b"", b" ", b"\xff", b'"', b"train", b"\0", b"cat.png", b"../x", b"\x1b")
    for name in rng.sample(("train.csv", "x.csv", "test.csv", "x.txt", "a.tsv"), rng.choice([0, 1, 1, 1, 2])):
        header, lines = rng.choice(headers), []
        sign = b";" if b";" in header else rng.choice([b",", b",", b" ", b"\t"])
        for number in range(rng.choice([0, 6, 6, 6])):
            label = rng.choice(cells) if rng.random() < 0.05 else cells[number % 2]
            lines.append(sign.join((b"%d.png" % number, label, *rng.choices(cells, k=max(0, header.count(sign) - 1)))))
        (root / name).write_bytes(b"\n".join([header, *lines]))
    return {"name": "table", "root": str(root)} | ({"label_column": "label"} if rng.random() < 0.1 else {})


MAKERS: dict[str, Callable[[random.Random, Path], dict[str, Any]]] = {
    "folder": make_folder,
    "parquet": make_parquet,
    "imagenet": make_imagenet,
    "table": make_table,
}


def draw_keys(rng: random.Random) -> dict[str, Any]:
    """Random keys of the section data."""
    keys: dict[str, Any] = {"image_size": rng.choice([8, 8, 8, None])}
    if rng.random() < 0.3:
        keys |= rng.choice([{"classes": ["a", "b"]}, {"classes": 2}, {"per_class": 1}, {"val_fraction": 0.9},
                            {"fraction": 0.01}, {"crop": "resized"}, {"unused_splits": ["extra", "x"]}])  # fmt: skip
    return keys
