"""The inputs of public bug reports, made and tried: what attncli does with each of them now.

    python -m tests.data.bug_log          all rows, a line each; exit code 1 if one is not as it should be
    python -m tests.data.bug_log A3 C1    these rows
    python -m tests.data.bug_log --quick  without those that measure many networks or start processes

A row names the reports that it is after, the input, and what is right. Images are 16 px of noise, red in class a and
green in class b, so that a network learns them in a few epochs. tests/data/test_bug_log.py tries the cheap rows.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tests.commands.line import Done, line
from tests.data import bug_log_runs
from tests.data.bug_log_inputs import (
    CLASSES,
    LABELS,
    Row,
    add,
    add_images_between_seeds,
    add_prefix,
    check,
    copy_test_from_train,
    damage_store,
    draw_image,
    empty_table,
    encode_png,
    has_top1,
    has_words,
    is_read,
    is_refused,
    is_trained,
    link_to_nothing,
    make_deep_grey,
    make_folder,
    make_huge,
    make_rotated,
    make_transparent,
    name_in_latin1,
    omit_class,
    read,
    rename_classes,
    run,
    swap_classes,
    try_label,
    try_runs_folder,
    try_two_orders,
    try_weights,
    try_world_size,
    verify,
    write_plugin,
    write_recipe,
    write_tables,
)

LOG = (
    "A1 A2 A3 A5 A6 A7 A8 A10 A11 A12 A14 A16 B1 B2 B4 B6 B8 C1 C2 C3 C5 C6 C7 C8 C9 C10 C11 C12 C14 C15 C16 C18 C19 "
    "C20 C21 D1 D2 D3 D4 D5 D6 D7 D9 D10 E1 E2 E3 E4 E5 E6 E7 E8 E9 E10 E11 E12 E13 E14"
)
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
    *bug_log_runs.ROWS,
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


def main(arguments: Sequence[str]) -> int:
    """Try the rows, print a line each, and at the end what came of every row of the log; return the wrong ones."""
    names = [name for name in arguments if name != "--quick"]
    verdicts: dict[str, list[str]] = {name: [] for name in LOG.split()}
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            number = row.name.split()[0]
            if names and row.name not in names and number not in names:
                continue
            if row.is_slow and "--quick" in arguments:
                verdicts[number].append("left out, slow")
                continue
            good, text = try_row(row, Path(folder))
            verdicts[number].append("right" if good else "WRONG")
            print(text, flush=True)
    print("\nrow of the log: results of its inputs")
    for number, results in verdicts.items():
        counts = ", ".join(f"{results.count(word)} {word}" for word in dict.fromkeys(results))
        print(f"{number}: {counts or ('not asked for' if names else 'NO INPUT')}")
    return sum(results.count("WRONG") for results in verdicts.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
