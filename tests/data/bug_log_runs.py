"""The rows of the log that are about runs, stores and words of the command line: C21, D6 to D10, E2, E3, E5 to E14."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.commands.line import Done, line
from tests.data.bug_log_inputs import (
    Row,
    check,
    draw_image,
    environment,
    has_words,
    is_read,
    is_refused,
    is_trained,
    make_folder,
    read,
    run,
)

FEW = ("--set", "data.per_class=2")
OFFICIAL = {
    "eca_layer(channel)": "class Attention(nn.Module):\n    def __init__(self, channel, k_size=3):",
    "CoordAtt(inp, oup)": "class Attention(nn.Module):\n    def __init__(self, inp, oup, reduction=32):",
    "in_channels": "class Attention(nn.Module):\n    def __init__(self, in_channels, ratio=16):",
}
# Stops the first run in the middle of its third or fourth epoch, as Ctrl-C does, if STOP_THE_RUN is set.
STOPPING = """
import os
import torch
from torch import nn

calls = 0


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        global calls
        calls += self.training and torch.is_grad_enabled()
        if calls > 70 and os.environ.get("STOP_THE_RUN"):
            raise KeyboardInterrupt
        return x * self.weight
"""


def write_official(place: Path, head: str) -> str:
    """C21: a file of a mechanism as its authors publish it, with a constructor of this head."""
    body = "        super().__init__()\n\n    def forward(self, x):\n        return x * torch.sigmoid(x)\n"
    (place / "official.py").write_text(f"import torch\nfrom torch import nn\n\n\n{head}\n{body}")
    return str(place / "official.py")


def resume_on_swapped_labels(place: Path) -> Done:
    """D6: a run is stopped, the labels of its training images are swapped, the same call."""
    root = make_folder(place / "x")
    (place / "stopping.py").write_text(STOPPING)
    with environment({"STOP_THE_RUN": "1"}):
        stopped = run(place, root, "--attn", str(place / "stopping.py"), epochs=6)
    if stopped.code != 130:
        return Done(3, "", f"the first run ended with {stopped.code}: {stopped.err}")
    (root / "train/a").rename(root / "train/c")
    (root / "train/b").rename(root / "train/a")
    (root / "train/c").rename(root / "train/b")
    return run(place, root, "--attn", str(place / "stopping.py"), epochs=6)


def delete_run_in_mlflow(place: Path) -> Done:
    """D7: a run is deleted in MLflow's UI; the same call, `compare`, and `sync`, all on stderr; then the runs there."""
    from mlflow import MlflowClient

    first = run(place, None, *FEW)
    client = MlflowClient(f"sqlite:///{place / 'runs/mlflow.db'}")
    (experiment,) = [e.experiment_id for e in client.search_experiments() if e.name != "Default"]
    (found,) = client.search_runs([experiment])
    client.delete_run(found.info.run_id)
    again = run(place, None, *FEW)
    runs = ("--runs", str(place / "runs"))
    compared = line("compare", "--no-plot", *runs)
    synced = line("sync", *runs)
    statuses = [each.info.status for each in client.search_runs([experiment])]
    codes = {first.code, again.code, compared.code, synced.code}
    said = f"{again.err}\n--- compare\n{compared.err}\n--- sync\n{synced.out}"
    return Done(max(codes), json.dumps({"again": statuses}), said)


def set_variables(values: dict[str, str], *words: str) -> Callable[[Path], Done]:
    """D10, E5, E7: a small run with these variables in the environment."""

    def attempt(place: Path) -> Done:
        with environment(values):
            return run(place, None, *FEW, *words)

    return attempt


def measure_all(place: Path) -> Done:
    """E3: the figures of all mechanisms at 1, 8, 33 and 100 px."""
    codes, rows = set(), 0
    for side in ("1", "8", "33", "100"):
        done = line("measure", "--attn", "all", "--backbone", "resnet20", "--no-speed", "--image-size", side, "--json")
        codes.add(done.code)
        rows += len(json.loads(done.out)) if done.code == 0 else 0
        if "Traceback" in done.err:
            return done
    return Done(max(codes), json.dumps({"images": rows}), "")


def name_store(place: Path) -> Done:
    """E6: the experiment of a run is deleted; the same call with another seed."""
    from mlflow import MlflowClient

    run(place, None, *FEW)
    client = MlflowClient(f"sqlite:///{place / 'runs/mlflow.db'}")
    for experiment in client.search_experiments():
        if experiment.name != "Default":
            client.delete_experiment(experiment.experiment_id)
    return run(place, None, *FEW, "--seed", "1")


def convert_image(kind: str) -> Callable[[Path], Done]:
    """E8: the images of class a in a format; what they look like is compared with the PNG."""

    def attempt(place: Path) -> Done:
        from attncli import data
        from attncli.recipe import Data

        root = make_folder(place / "x", each=4)
        expected = _save_as(kind, root / "train/a")
        recipe = Data.model_validate({"name": "folder", "root": str(root), "val_fraction": 0.0})
        images = data.load(recipe, cache=place / "cache").train.images[:4].float()
        difference = (images - expected).abs().mean((1, 2, 3)).max().item()
        return Done(0 if difference < 12 else 1, "", f"mean difference to the picture: {difference:.1f} of 255")

    return attempt


def _save_as(kind: str, folder: Path) -> torch.Tensor:
    """Save the images of a folder in another format; return what is to be seen, (N, 3, H, W), 0 to 255."""
    pictures = []
    for path in sorted(folder.iterdir()):
        image = Image.open(path).convert("RGB").resize((4, 4)).resize((16, 16), Image.Resampling.NEAREST)
        path.unlink()
        mode = {"CMYK": "CMYK", "LA": "LA", "1 bit": "1"}.get(kind, "RGB")
        shown = image.convert("L").convert(mode) if mode in ("LA", "1") else image
        suffix = {"CMYK": "jpg", "GIF": "gif", "JPEG named .png": "png", "WebP": "webp", "AVIF": "avif"}.get(
            kind, "png"
        )
        suffix = {"BMP": "bmp", "PPM": "ppm"}.get(kind, suffix)
        options: dict[str, object] = {"quality": 95} if suffix in ("jpg", "webp", "avif") else {}
        if kind == "GIF":
            options = {"save_all": True, "append_images": [Image.new("RGB", (16, 16))]}
        format_ = "JPEG" if kind in ("CMYK", "JPEG named .png") else None
        shown.convert(mode).save(path.with_suffix(f".{suffix}"), format_, **options)
        pictures.append(torch.from_numpy(np.array(shown.convert("RGB"))).permute(2, 0, 1).float())
    return torch.stack(pictures)


def save_floats(place: Path) -> Path:
    """E8: an image of 32-bit floats."""
    root = make_folder(place / "x", each=4)
    Image.fromarray(np.ones((16, 16), np.float32)).save(root / "train/a/0.tif")
    return root


def sweep_with_failure(place: Path) -> Done:
    """E9: a sweep of which one mechanism fails, called twice; the second call trains only what failed."""
    (place / "mine.py").write_text(
        STOPPING.replace("raise KeyboardInterrupt", "raise RuntimeError('out of ideas')").replace("> 70", "> 10")
    )
    words = ("sweep", "--attn", f"{place / 'mine.py'},eca", "--backbone", "resnet20", "--epochs", "1", "--seeds", "1",
             "--runs", str(place / "runs"), "--set", "measure.speed=false", *FEW)  # fmt: skip
    with environment({"STOP_THE_RUN": "1"}):
        first = line(*words)
        again = line(*words)
    finished = len(list((place / "runs").glob("*/result.json")))
    return Done(again.code, first.out + again.out, f"{finished} results; {first.err.count('begun')} begun")


def compare_two_roots(place: Path) -> Done:
    """E10: runs on two folders of one base name; `compare`."""
    for name in ("one", "two"):
        root = make_folder(place / name / "x", each=6)
        if name == "two":
            draw_image(99, 0).save(root / "train/a/99.png")
        for attn in ("none", "eca"):
            run(place, root, "--attn", attn)
    return line("compare", "--no-plot", "--json", "--runs", str(place / "runs"))


def lose_database(place: Path) -> Done:
    """E11: the database is deleted; `sync` writes it again; then a result is damaged and the same call."""
    run(place, None, *FEW)
    runs = place / "runs"
    for path in runs.glob("mlflow.db*"):
        path.unlink()
    synced = line("sync", "--runs", str(runs))
    if synced.code or not (runs / "mlflow.db").exists():
        return synced
    (result,) = runs.glob("*/result.json")
    result.write_text("{")
    return run(place, None, *FEW)


def make_odd_names(place: Path) -> Path:
    """E12: classes with signs, of 200 letters, with umlauts; one image per class in the test set; 12 to 3."""
    root = place / "x"
    for number, name in enumerate(("$a^{b}", "<b>bold</b>", "n" * 200, "Käse_1%")):
        for split, count in (("train", 12 if number else 3), ("test", 1)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                draw_image(100 * number + i + (split == "test") * 1000, number % 3).save(
                    root / split / name / f"{i}.png"
                )
    return root


def load_below_attention(place: Path) -> Done:
    """E13: published weights of a plain network, loaded into one whose blocks have attention; what is said."""
    from attncli import model, recipe

    spec, notes = model.InputSpec(10, (8, 8)), []
    plain = model.build(recipe.read(values={"model.backbone": "resnet20", "seed": 1}), spec)
    torch.save(plain.state_dict(), place / "weights.pth")
    values = {"model.backbone": "resnet20", "model.attn": "eca", "model.pretrained": str(place / "weights.pth")}
    loaded = model.build(recipe.read(values=values), spec, notes.append)
    same = [torch.equal(loaded.state_dict()[name], tensor) for name, tensor in plain.state_dict().items()
            if name in loaded.state_dict()]  # fmt: skip
    return Done(0 if same and all(same) else 1, "", f"{sum(same)} tensors equal; {'; '.join(notes)}")


def make_panorama(place: Path) -> Path:
    """E14: an image of 2000 x 3 pixels."""
    root = make_folder(place / "x", each=4)
    draw_image(5, 0, (2000, 3)).save(root / "train/a/0.png")
    return root


KINDS = ("CMYK", "LA", "1 bit", "GIF", "WebP", "AVIF", "BMP", "PPM", "JPEG named .png")
DIGITS = {"E14 mixup": ("--set", "data.mixup=0.2", "--set", "train.batch_size=1"),
          "E14 no validation": ("--set", "data.val_fraction=0")}  # fmt: skip
ROWS = [
    *(Row(f"C21 {kind}", "CoordAttention #5, triplet #17", f"official file, {kind}",
          lambda p, head=head: run(p, None, *FEW, "--attn", write_official(p, head)), is_trained)
      for kind, head in OFFICIAL.items()),
    Row("C21 needs more", "the same", "a required parameter that no place has", lambda p: run(
        p, None, "--attn", write_official(p, "class Attention(nn.Module):\n    def __init__(self, dim, heads):")),
        is_refused("heads")),
    Row("D6", "accelerate #2823", "stopped, labels swapped, the same call", resume_on_swapped_labels,
        lambda d: is_trained(d) and "this is another run" in d.err and json.loads(d.out)["test_top1"] == 0),
    Row("D7", "mlflow #689", "a run deleted in MLflow; same call, compare, sync", delete_run_in_mlflow,
        lambda d: d.code == 0 and json.loads(d.out)["again"] == ["FINISHED"] and "attncli sync" in d.err),
    Row("D10", "transformers #30563, mlflow #2227", "MLFLOW_EXPERIMENT_NAME, _ID, MLFLOW_RUN_ID", set_variables(
        {"MLFLOW_EXPERIMENT_NAME": "mine", "MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_RUN_ID": "0" * 32}),
        lambda d: is_trained(d) and all(f"MLFLOW_{word}" in d.err for word in (
            "EXPERIMENT_NAME=mine is not used", "EXPERIMENT_ID is not used", "RUN_ID is not used"))),
    Row("E2 sk", "timm #911, ResNeSt #46 #161", "batch 1 with sk", lambda p: run(
        p, None, *FEW, "--attn", "sk", "--set", "train.batch_size=1"), has_words("a batch of two or more", code=1)),
    Row("E2 cbam", "the same", "batch 1 with cbam", lambda p: run(
        p, None, *FEW, "--attn", "cbam", "--set", "train.batch_size=1"), is_trained),
    Row("E3", "FcaNet #1 #17 #21, coatnet #5", "all mechanisms at 1, 8, 33, 100 px", measure_all,
        lambda d: d.code == 0 and json.loads(d.out)["images"] > 200, is_slow=True),
    *(Row(f"E5 {uri}", "MONAI #8891, mmengine #1687", f"MLFLOW_TRACKING_URI={uri}", set_variables(
          {"MLFLOW_TRACKING_URI": uri}), is_refused("sqlite"))
      for uri in ("./mlruns", "file:./mlruns")),
    Row("E6", "Lightning PR #20556, mlflow #2690", "the experiment was deleted", name_store, is_refused(
        "was deleted", "restore")),
    Row("E7", "diffusers #1272, kohya_ss #639", "ACCELERATE_MIXED_PRECISION=fp16 on a CPU", set_variables(
        {"ACCELERATE_MIXED_PRECISION": "fp16"}), lambda d: is_trained(d) and "train.precision decides" in d.err),
    Row("E7 key", "the same", "train.precision=fp16 on a CPU", set_variables({}, "--set", "train.precision=fp16"),
        is_refused("train.precision")),
    *(Row(f"E8 {kind}", "vlfeat #91, vision #3012 #6538", f"{kind}: the colours", convert_image(kind), lambda d:
          d.code == 0) for kind in KINDS),
    Row("E8 floats", "the same", "32-bit floats", lambda p: read(p, save_floats(p)), is_refused("32")),
    Row("E9", "hydra #2284 #2824, optuna #433", "a sweep with a failing member, twice", sweep_with_failure,
        lambda d: d.code == 1 and d.err.startswith("2 results") and "out of ideas" in d.out and "log: " in d.out,
        is_slow=True),
    Row("E10", "own", "two roots of one base name; compare", compare_two_roots, lambda d: d.code == 0 and sorted(
        (r["attn"], r["pairs"]) for r in json.loads(d.out)) == [("eca", 1), ("eca", 1), ("none", 0), ("none", 0)]),
    Row("E11", "own", "database deleted, sync; result damaged, the same call", lose_database, is_trained),
    Row("E12", "own", "odd names of classes, one test image each", lambda p: run(p, make_odd_names(p)), is_trained),
    Row("E13", "triplet #17 #22, CBAM-keras #1", "plain weights below eca", load_below_attention, has_words(
        "97 of 97")),
    Row("E13 replace", "the same", "model.replace=se", lambda _: check(
        "--attn", "eca", "--backbone", "mobilenet_v3_small", "--set", "model.replace=se"), has_words("replace")),
    Row("E14 panorama", "own", "2000 x 3 px, resized crops", lambda p: read(
        p, make_panorama(p), "--image-size", "16", "--set", "data.crop=resized"), is_read(8, 8)),
    *(Row(name, "own", " ".join(words[1::2]), lambda p, words=words: run(p, None, *FEW, *words), is_trained)
      for name, words in DIGITS.items()),
    Row("E14 lr", "own", "lr 1e9", lambda p: run(p, None, *FEW, "--set", "train.lr=1e9", epochs=3), has_words(
        "train.lr", code=1)),
]  # fmt: skip
