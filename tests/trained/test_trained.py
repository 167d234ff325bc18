"""Trained networks leave: exported and loaded back, classifying files, evaluated elsewhere."""

import gc
import itertools
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from attncli import data, model
from attncli import recipe as recipes
from attncli.analysis.compare import compare_variants
from attncli.analysis.comparison_row import ComparisonRow
from attncli.commands.eval import EvaluatedRun, _evaluate_run
from attncli.errors import RunFailedError, UserError
from attncli.interpret.load_run import load_finished_run
from attncli.model import InputSpec
from attncli.recipe import Data, Recipe
from attncli.records import RESULT, Evaluation, Status
from attncli.report.contact_sheet import read_thumbnail
from attncli.run import describe_dataset
from attncli.runs import read_folder_runs
from attncli.track.predictions import ImagePredictions, write_predictions
from attncli.track.provenance import DatasetInfo, begin_provenance, end_provenance, write_provenance
from attncli.train.evaluation import evaluate_split
from attncli.trained import ImageClassifier, corruptions, export, load_trained_network
from attncli.trained.evaluate import (
    EvaluationRequest,
    _choose_data,
    choose_available_precision,
    describe_precision,
    evaluate_elsewhere,
    load_other_images,
    replace_test_results,
)
from attncli.trained.export import export_network, load_exported
from attncli.trained.network import TrainedNetwork, check_own_code
from attncli.trained.predict import list_image_files, predict_files
from tests.claims.case import run
from tests.commands.line import line, refused
from tests.track.recorded_runs import FACTS
from tests.trained.case import trained_run

SPEC = InputSpec(10, (8, 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of eca."""
    return trained_run(tmp_path_factory.mktemp("project") / "runs")[0]


def with_model(recipe: Recipe, **keys: object) -> Recipe:
    """The recipe with other keys of its model."""
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=keys)})


def test_normalisation_is_that_of_the_training_images(folder: Path) -> None:
    """The classifier's logits of images from 0 to 1 are the network's of normalised ones."""
    trained = load_trained_network(folder)
    images = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (trained.mean, trained.std))
    with torch.no_grad():
        expected = trained.net((images - mean) / std)
        assert torch.allclose(ImageClassifier(trained)(images), expected, atol=1e-5)
    assert (trained.classes, trained.size) == (tuple("0123456789"), (8, 8))


@pytest.mark.parametrize("format_", ["safetensors", pytest.param("torch-export", marks=pytest.mark.slow)])
def test_an_export_gives_the_same_logits(folder: Path, tmp_path: Path, format_: str) -> None:
    """Loaded back as another program would, for another number of images."""
    trained = load_trained_network(folder)
    path = tmp_path / "out"
    summary = export_network(trained, format_, path)
    assert summary["input"] == ["N", 3, 8, 8]
    images = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        other = (
            ImageClassifier(load_exported(path)) if format_ == "safetensors" else torch.export.load(path).module()
        )(images)
        assert torch.allclose(other, ImageClassifier(trained)(images), atol=1e-4)
    with pytest.raises(UserError, match="exists"):
        export_network(trained, format_, path)


@pytest.mark.parametrize("end", ["killed", "other logits"])
def test_an_export_is_whole_or_absent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """A file that is half written, or that gives other logits, never has the name that was asked for."""
    path = tmp_path / "out" / "x.safetensors"

    def write_half(trained: object, temporary: Path, images: torch.Tensor) -> torch.Tensor:
        temporary.write_text("half")
        assert not path.exists()
        if end == "killed":
            raise KeyboardInterrupt
        return torch.full((len(images), 10), 1e6)

    monkeypatch.setitem(export._EXPORTERS, "safetensors", write_half)
    with pytest.raises(KeyboardInterrupt if end == "killed" else RunFailedError):
        export_network(load_trained_network(folder), "safetensors", path)
    assert list(path.parent.iterdir()) == []


def test_onnx_names_its_extra(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package one line says what to install, and nothing is written."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        export_network(load_trained_network(folder), "onnx", tmp_path / "out.onnx")
    assert "attncli[onnx]" in error.value.hint
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_here_is_refused(folder: Path, tmp_path: Path) -> None:
    """One line from every command that runs a trained network, and nothing is drawn."""
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    place = ("--runs", str(folder.parent), "--device", "cuda")
    for command in (("predict", folder.name, str(tmp_path)), ("look", folder.name), ("eval", folder.name)):
        refused(line(*command, *place), "--device cuda", "doctor")
    assert not (folder / "look").exists()


def test_a_run_is_a_source_of_pretrained_weights(folder: Path) -> None:
    """All of it in the same network; the backbone alone in a network with another mechanism, or with none."""
    source = dict(load_trained_network(folder).net.state_dict())
    lines: list[str] = []
    recipe = with_model(Recipe(), backbone="resnet20", pretrained=str(folder))
    same = model.build(with_model(recipe, attn="eca"), SPEC, lines.append).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in source.items())
    assert any("9 of 9 tensors of the mechanism" in text for text in lines)
    for attn in ("se", "none"):
        other = model.build(with_model(recipe, attn=attn), SPEC).state_dict()
        backbone = {name.replace(".host.", "."): t for name, t in other.items() if ".attn." not in name}
        for name, tensor in source.items():
            if ".attn." not in name:
                assert torch.equal(backbone[name.replace(".host.", ".")], tensor)


def test_a_pretrained_run_counts_by_its_content(folder: Path, tmp_path: Path) -> None:
    """The digest of a recipe depends on the weights and not on the folder; it differs from training from scratch."""
    copy = tmp_path / "elsewhere"
    (copy / "checkpoint").mkdir(parents=True)
    for name in ("state.json", "tensors-a.safetensors"):
        (copy / "checkpoint" / name).write_bytes((folder / "checkpoint" / name).read_bytes())
    digests = {with_model(Recipe(), pretrained=str(path)).compute_digest() for path in (folder, copy)}
    assert len(digests) == 1
    assert Recipe().compute_digest() not in digests


def test_evaluation_elsewhere_is_that_of_the_run(folder: Path) -> None:
    """On its own test set as a run evaluates it; corruptions are the same for every call and change the result."""
    trained = load_trained_network(folder)
    request = EvaluationRequest(data_values={})
    images = load_other_images(trained, request)
    ((own, predictions),) = evaluate_elsewhere(trained, images, request)
    assert (own.count_correct(), own.images) == (predictions.mark_correct().sum(), len(predictions.labels))
    again = evaluate_split(trained.net, images.test, images, trained.recipe, name="test")
    assert (own.images, own.top1, own.loss) == (382, again.top1, pytest.approx(again.loss))
    noisy = EvaluationRequest(data_values={}, corruptions=("gaussian-noise", "fog"), severities=(5,))
    first, second = (evaluate_elsewhere(trained, images, noisy) for _ in range(2))
    assert [e.confusion for e, _ in first] == [e.confusion for e, _ in second]
    assert [e.split for e, _ in first] == ["gaussian-noise-5", "fog-5"]
    assert all(e.loss != own.loss for e, _ in first)


def test_a_split_is_that_of_the_run(tmp_path: Path) -> None:
    """With data.subset_seed=run every seed has its own cut; another one would test on images of the training."""
    folder, recipe = trained_run(tmp_path / "runs", seed=3, data__subset_seed="run", data__folds=5, data__fold=1)
    own = data.load(recipe.resolve_data(), cache=tmp_path / "cache")
    trained = load_trained_network(folder)
    for split in (own.test, own.val):
        name = "test" if split is own.test else "val"
        other = load_other_images(trained, EvaluationRequest(data_values={}, split=name))
        assert split is not None
        assert torch.equal(other.test.images, split.images)
        assert torch.equal(other.test.labels, split.labels)


def test_images_that_changed_since_are_refused(tmp_path: Path) -> None:
    """A split of the run's own images is read only if they are those that it was trained on."""
    folder, _ = trained_run(tmp_path / "runs")
    values = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(values | {"data_digest": "f" * 64}))
    trained = load_trained_network(folder)
    with pytest.raises(UserError, match="trained on other images"):
        load_other_images(trained, EvaluationRequest(data_values={}, split="val"))
    other = load_other_images(trained, EvaluationRequest(data_values={"image_size": [8, 8]}))  # asked for
    assert len(other.test) > 0


def make_evaluation(is_correct: list[bool]) -> tuple[Evaluation, ImagePredictions]:
    """An evaluation of images of the class 1 of two."""
    predicted, images = np.array(is_correct).astype(int), len(is_correct)
    right = int(predicted.sum())
    figures = {"loss": 1.0, "top1": right / images, "top5": 1.0, "images_per_s": 1.0}
    evaluation = Evaluation(split="x", images=images, confusion=[[0, 0], [images - right, right]], **figures)
    return evaluation, ImagePredictions(predicted, np.ones(images, int))


def test_runs_are_compared_by_what_they_got_elsewhere(tmp_path: Path) -> None:
    """Difference, F1 and McNemar's test are those of the other images; of several evaluations there is no such test."""
    for attn, right in (("none", 90), ("eca", 10)):
        recipe = run(tmp_path, attn=attn, seed=0, top1=right / 100)
        write_predictions(tmp_path / recipe.compute_digest(), np.arange(100) < right, np.ones(100, bool), 2)
    plain, better = [True] * 4 + [False] * 6, [True] * 5 + [False] * 5
    elsewhere = {"none": [make_evaluation(plain)], "eca": [make_evaluation(better)]}
    runs = list(read_folder_runs(tmp_path))

    def compare(repeats: int) -> ComparisonRow:
        rows = compare_variants([replace_test_results(r, elsewhere[r.result.attn] * repeats) for r in runs])
        return next(row for row in rows if row.attn == "eca")

    for repeats in (1, 2):
        row = compare(repeats)
        assert row.difference is not None
        assert (row.accuracy.mean, row.difference.mean) == (0.5, pytest.approx(0.1))
        assert row.top5 is None  # of two classes it says nothing
        assert row.macro_f1 is not None
        assert row.macro_f1.mean == pytest.approx(make_evaluation(better)[0].compute_macro_f1())
    once = compare(1).disagreement
    assert once is not None
    assert (once.won, once.lost, once.images) == (1, 0, 10)
    assert compare(2).disagreement is None


def test_a_variant_with_a_failed_seed_is_not_judged_elsewhere_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other seeds are all better on the other images, but it does not always train."""
    monkeypatch.chdir(tmp_path)
    for attn, seed in itertools.product(("none", "eca"), range(4)):
        recipe = run(Path("runs"), attn=attn, seed=seed, top1=0.5)
        folder = Path("runs", recipe.compute_digest())
        status: Status = "FAILED" if (attn, seed) == ("eca", 3) else "FINISHED"
        end_provenance(folder, begin_provenance(folder, recipe, None, {}), status)
    (folder / RESULT).unlink()

    def evaluate_run(folder: Path, _: EvaluationRequest) -> EvaluatedRun:
        recipe = recipes.read(folder / "recipe.yaml")
        right = 500 + 3 * recipe.seed + (200 + recipe.seed if recipe.model.attn == "eca" else 0)
        return EvaluatedRun(folder, recipe, [make_evaluation([True] * right + [False] * (1000 - right))])

    monkeypatch.setattr("attncli.commands.eval._evaluate_run", evaluate_run)
    table = line("eval", "all", "--split", "val")
    assert table.code == 0, table.err
    assert "eca: not judged: 1 of 4 seeds failed" in table.out


def test_variants_that_are_not_evaluated_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three mechanisms one is picked: its interval is that of one test, whatever the others were."""
    monkeypatch.chdir(tmp_path)
    for attn, seed in itertools.product(("none", "eca", "se", "cbam"), range(2)):
        run(Path("runs"), attn=attn, seed=seed, top1=0.5)

    def evaluate_run(folder: Path, _: EvaluationRequest) -> EvaluatedRun:
        recipe = recipes.read(folder / "recipe.yaml")
        right = 500 + 3 * recipe.seed + len(recipe.model.attn)
        return EvaluatedRun(folder, recipe, [make_evaluation([True] * right + [False] * (1000 - right))])

    monkeypatch.setattr("attncli.commands.eval._evaluate_run", evaluate_run)
    names = [f"{attn}-resnet20-s{seed}" for attn, seed in itertools.product(("none", "eca"), range(2))]
    assert "2 further variants of the same baseline left out" in line("eval", *names, "--split", "val").err
    assert "left out" not in line("eval", "all", "--split", "val").err


def test_networks_that_were_evaluated_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a hundred runs would fill the memory before the first row is printed."""
    networks: list[weakref.ref[torch.nn.Module]] = []

    def load(folder: Path) -> TrainedNetwork:
        trained = load_trained_network(folder)
        networks.append(weakref.ref(trained.net))
        return trained

    monkeypatch.setattr("attncli.trained.load_trained_network", load)
    evaluated = _evaluate_run(folder, EvaluationRequest(data_values={}))
    gc.collect()
    assert len(evaluated.evaluations) == 1
    assert [network() for network in networks] == [None]


def test_a_network_of_another_device_is_evaluated_here() -> None:
    """In fp32 if this device lacks the format of its training, which is said; in its own format if it has it."""
    for precision, expected in (("fp16", "fp32"), ("tf32", "fp32"), ("bf16", "bf16"), ("auto", "auto")):
        recipe = Recipe.model_validate({"train": {"precision": precision}})
        here = torch.device("cpu")
        assert choose_available_precision(recipe, here).train.precision == expected
        assert (precision in describe_precision(recipe, here)) == (precision != expected)


def test_classes_are_matched_by_name(folder: Path, tmp_path: Path) -> None:
    """A folder with some of the run's classes gets its labels; an unknown class is refused."""
    trained = load_trained_network(folder)
    for part in ("train", "test"):
        for name in ("7", "3"):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / part / name / "a.png")
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / part / name / "b.png")
    request = EvaluationRequest(data_values={"name": "folder", "root": str(tmp_path / "images")})
    images = load_other_images(trained, request)
    assert sorted(images.test.labels.tolist()) == [3, 3, 7, 7]
    assert images.mean == trained.mean
    for part in ("train", "test"):
        (tmp_path / "images" / part / "7").rename(tmp_path / "images" / part / "cat")
    with pytest.raises(UserError, match="'cat'"):
        load_other_images(trained, request)


def test_other_images_without_a_test_split_are_all_evaluated(folder: Path, tmp_path: Path) -> None:
    """A folder of classes is an external test set, and not a dataset to cut; the run's own images are cut as before."""
    trained, root = load_trained_network(folder), tmp_path / "pictures"
    generator = np.random.default_rng(0)
    for name in "0123456789":
        (root / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(generator.integers(256, size=(8, 8), dtype=np.uint8)).save(root / name / f"{number}.png")
    request = EvaluationRequest(data_values={"name": "folder", "root": str(root)})
    images = load_other_images(trained, request)
    assert images.test.labels.bincount().tolist() == [5] * 10
    assert not any("no test split" in note for note in images.notes)
    recipe = trained.recipe.model_copy(update={"data": Data(name="folder", root=str(root))})
    own = load_other_images(replace(trained, recipe=recipe), request)
    assert own.test.labels.bincount().tolist() == [1] * 10
    cut = data.load(recipe.data, cache=tmp_path / "cache")
    size = data.load_size(trained.folder.parent / "cache", recipe.data)
    assert len(cut.test) == 10
    assert size is None or size.test == 10  # a plan's cut


def test_keys_of_the_runs_own_dataset_are_not_those_of_another(folder: Path, tmp_path: Path) -> None:
    """Its columns, its base and its unused splits mean nothing there; a key that is asked for holds, null too."""
    trained = load_trained_network(folder)
    own = Data(name="table", root="x.csv", label_column="diagnosis", group_column="patient", unused_splits=["extra"])
    run = replace(trained, recipe=trained.recipe.model_copy(update={"data": own}))
    values = {"name": "folder", "root": str(tmp_path), "classes": ["1"], "flip": None}
    chosen = _choose_data(run, EvaluationRequest(data_values=values))
    assert (chosen.label_column, chosen.group_column, chosen.unused_splits) == (None, None, [])
    assert (chosen.classes, chosen.flip) == (["1"], None)
    same = _choose_data(run, EvaluationRequest(data_values={"name": "table", "root": "y.csv"}))
    assert (same.label_column, same.group_column, same.unused_splits) == ("diagnosis", "patient", ["extra"])


def write_deep_images(root: Path, top: int) -> None:
    """A folder of grey images of 16 bits, three of each of ten classes, with values up to `top`."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "0123456789":
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = generator.integers(top, size=(8, 8), endpoint=True).astype(np.uint16)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")


def test_deep_images_are_shown_as_in_the_training(tmp_path: Path) -> None:
    """Which values are black and white is known of the training images: other ones may hold fewer of them."""
    write_deep_images(tmp_path / "xray", 4095)
    write_deep_images(tmp_path / "other", 900)
    own_images = {"data__name": "folder", "data__root": str(tmp_path / "xray"), "data__image_size": 8}
    folder, recipe = trained_run(tmp_path / "runs", **own_images)
    dataset = data.load(recipe.resolve_data(), cache=tmp_path / "cache")
    begin_provenance(folder, recipe, describe_dataset(dataset), {})
    trained = load_trained_network(folder)
    assert trained.grey_range == (0.0, 4095.0)
    export_network(trained, "safetensors", tmp_path / "xray.safetensors")
    assert load_exported(tmp_path / "xray.safetensors").grey_range == trained.grey_range
    file = tmp_path / "xray" / "test" / "0" / "0.png"
    with torch.no_grad():
        shown = dataset.test.images[0].float() / 255
        expected = ImageClassifier(trained)(shown[None]).softmax(1).max()
    (prediction,) = predict_files(trained, [file], top=1)
    assert prediction.probabilities[0] == pytest.approx(float(expected), abs=1e-5)
    request = EvaluationRequest(data_values={"name": "folder", "root": str(tmp_path / "other")})
    assert int(load_other_images(trained, request).test.images.max()) <= 900 / 4095 * 255 + 1


def test_predictions_are_those_of_the_network(folder: Path, tmp_path: Path) -> None:
    """The likeliest class first, probabilities of the network's softmax; a folder stands for its images."""
    trained = load_trained_network(folder)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    files = list_image_files([tmp_path])
    assert files == [tmp_path / "a.png"]
    (prediction,) = predict_files(trained, files, top=3)
    with torch.no_grad():
        image = torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255
        expected = ImageClassifier(trained)(image).softmax(1)[0].topk(3)
    assert prediction.classes == tuple(str(i) for i in expected.indices.tolist())
    assert prediction.probabilities == pytest.approx(expected.values.tolist(), abs=1e-5)
    with pytest.raises(UserError, match="cannot be read as an image"):
        predict_files(trained, [tmp_path / "notes.txt"])


def test_predictions_see_what_the_tests_saw(tmp_path: Path) -> None:
    """With resized crops the test images of a dataset in memory are shown whole: data.centre is noted to do nothing."""
    folder, recipe = trained_run(tmp_path / "runs", data__crop="resized")
    test = data.load(recipe.resolve_data(), cache=tmp_path / "cache").test
    Image.fromarray(test.images[0].movedim(0, -1).numpy()).save(tmp_path / "a.png")
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))  # whose probabilities differ with every pixel
    trained = replace(load_trained_network(folder), net=linear)
    (prediction,) = predict_files(trained, [tmp_path / "a.png"], top=10)
    with torch.no_grad():
        expected = ImageClassifier(trained)(test.images[:1].float() / 255).softmax(1)[0].sort(descending=True).values
    assert prediction.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    done = line("eval", str(folder), "--set", "data.centre=1.0", "--runs", str(tmp_path / "runs"))
    assert "data.centre has no effect" in done.err


def test_runs_of_other_folders_are_compared(folder: Path, tmp_path: Path) -> None:
    """They are given by path; the folder of runs of the options has none of them."""
    paths = [str(shutil.copytree(folder, tmp_path / place / folder.name)) for place in ("here", "there")]
    table = line("eval", *paths, "--corruption", "jpeg", "--format", "markdown", "--runs", str(tmp_path)).out
    assert any(text.split()[:3] == ["|", "eca", "|"] for text in table.splitlines()), table


def test_a_sheet_shows_the_first_images_after_the_predictions(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predictions are there even if the sheet cannot be written; of thousands of images it would take hours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("attncli.commands.predict.MOST_DRAWN", 2)
    for name in "abc":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(f"{name}.png")
    drawn: list[int] = []

    def draw(images: list[Image.Image], labels: list[str], title: str, path: Path) -> None:
        drawn.append(len(images))
        assert len(labels) == len(images)
        raise UserError(f"{path}: no room", "")

    monkeypatch.setattr("attncli.report.contact_sheet.draw_contact_sheet", draw)
    files = ("a.png", "b.png", "c.png")
    done = line("predict", "eca-resnet20-s0", *files, "--sheet", "s.png", "--runs", str(folder.parent))
    assert done.code == 2
    assert [row.partition(",")[0] for row in done.out.splitlines()] == ["file", *files]
    assert drawn == [2]


def test_the_commands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the run's name and prints JSON; a wrong word is one line."""
    monkeypatch.chdir(tmp_path)
    runs = ("--runs", str(folder.parent))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("a.png")
    Image.fromarray(np.zeros((100, 400, 3), np.uint8)).save("b.png")
    (row,) = line("predict", "eca-resnet20-s0", "a.png", "--top", "2", "--json", *runs).json()
    assert (row["file"], len(row["classes"])) == ("a.png", 2)
    done = line("predict", "eca-resnet20-s0", "a.png", "b.png", "--sheet", "sheets/s.png", *runs)
    assert [row.partition(",")[0] for row in done.out.splitlines()] == ["file", "a.png", "b.png"]
    with Image.open("sheets/s.png") as sheet:
        assert sheet.width > 500
    refused(line("predict", "eca-resnet20-s0", "a.png", "--sheet", "sheet", *runs), "sheet: ", ".png, .pdf, .svg")
    Path("broken.png").write_bytes(Path("b.png").read_bytes()[:60])
    done = line("predict", "eca-resnet20-s0", "a.png", "broken.png", "b.png", *runs)
    assert (done.code, [row.partition(",")[0] for row in done.out.splitlines()]) == (1, ["file", "a.png", "b.png"])
    assert "broken.png: cannot be read" in done.err
    assert "1 of 3 files left out" in done.err
    refused(line("predict", "eca-resnet20-s0", "broken.png", *runs), "broken.png: cannot be read", "leave it out")
    assert read_thumbnail(Path("b.png")).size == (256, 64)
    assert line("export", "eca-resnet20-s0", "--json", *runs).json()["file"] == "eca-resnet20-s0.safetensors"
    (row,) = line("eval", "eca-resnet20-s0", "--corruption", "jpeg", "--json", *runs).json()
    assert (row["on"], row["images"]) == ("jpeg-1", 382)
    table = line("eval", "all", "--corruption", "jpeg,fog", "--format", "csv", *runs).out.splitlines()
    assert [text.split(",")[1] for text in table] == ["on", "jpeg-1", "fog-1"]
    refused(line("eval", "all", "--runs", str(tmp_path)), "no finished runs")
    refused(line("eval", "eca-resnet20-s0", "--corruption", "fogg", *runs), "'fog'")
    refused(line("eval", "eca-resnet20-s0", "--set", "train.lr=1", *runs), "train.lr")
    refused(line("predict", "eca-resnet20-s0", "nowhere.png", *runs), "nowhere.png")
    refused(line("eval", "eca-resnet20-s0", "--data-root", "pictures", *runs), "--data-root", "--dataset folder")


def test_runs_record_their_normalisation(folder: Path) -> None:
    """The facts of a run hold mean and std; those of earlier versions have none and are read without."""
    info = describe_dataset(load_other_images(load_trained_network(folder), EvaluationRequest(data_values={})))
    assert info.mean == load_trained_network(folder).mean
    values = {key: value for key, value in vars(info).items() if key not in ("mean", "std")}
    assert DatasetInfo(**values).mean is None


def test_clouds_are_as_smooth_as_the_authors() -> None:
    """Fog's clouds fall off with the square of the decay per octave: neighbours differ less at a larger decay."""
    steps = [
        np.abs(np.diff(corruptions._draw_plasma(np.random.default_rng(0), 4, 32, decay), axis=2)).mean()
        for decay in (1.0, 1.75, 3.0)
    ]
    assert steps[0] > 3 * steps[1] > 3 * steps[2]


def test_a_run_whose_own_code_has_changed_is_refused(tmp_path: Path) -> None:
    """The weights fit the changed class too, so that only its content tells; with the old content all is well again."""
    file, before = (
        tmp_path / "mine.py",
        "from torch import nn\nclass Gate(nn.Module):\n    def forward(self, x): return x",
    )
    file.write_text(before)
    own_folder, _ = trained_run(tmp_path / "runs", attn=f"{file}:Gate")
    load_trained_network(own_folder)
    file.write_text(before + " * 2")
    for load in (load_trained_network, load_finished_run):
        with pytest.raises(UserError, match=r"mine\.py:Gate has changed"):
            load(own_folder)
    file.write_text(before)
    load_trained_network(own_folder)


@pytest.mark.parametrize("attn", ["mine.py:Gate", "eca+mine.py:Gate"])
def test_own_files_of_a_run_are_looked_for_where_it_was_trained(
    attn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder a relative path leads nowhere: the error names the run, and the hint the way on."""
    (tmp_path / "mine.py").write_text("from torch import nn\nclass Gate(nn.Identity): ...")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    own_folder, _ = trained_run(tmp_path / "runs", attn=attn)
    load_trained_network(own_folder)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for load in (load_trained_network, load_finished_run):
        with pytest.raises(UserError, match=r"no file mine\.py here") as caught:
            load(own_folder)
        assert str(own_folder) in caught.value.problem
        assert "the folder in which the run was trained" in caught.value.hint


@pytest.mark.parametrize("is_of_earlier_version", [False, True])
def test_a_project_that_was_moved_has_the_same_code(
    is_of_earlier_version: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images count in the digest by their absolute path, which is no part of the code."""
    project = tmp_path / "project"
    (project / "photos").mkdir(parents=True)
    (project / "mine.py").write_text("from torch import nn\nclass Gate(nn.Identity): ...")
    monkeypatch.chdir(project)
    recipe = recipes.read(values={"model.attn": "mine.py:Gate", "data.name": "folder", "data.root": "photos"})
    digest = recipe.compute_digest()
    info = replace(FACTS, source=str(project / "photos"))
    provenance = begin_provenance(Path("runs") / digest, recipe, info, {})
    if is_of_earlier_version:
        write_provenance(Path("runs") / digest, replace(provenance, own_code={}))
    monkeypatch.chdir(tmp_path)
    project.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert recipe.compute_digest() != digest
    check_own_code(Path("runs") / digest, recipe, digest)
    Path("mine.py").write_text("from torch import nn\nclass Gate(nn.Dropout): ...")
    with pytest.raises(UserError, match=r"mine\.py:Gate has changed"):
        check_own_code(Path("runs") / digest, recipe, digest)


def test_an_exported_network_of_changed_code_is_refused(tmp_path: Path) -> None:
    """Its weights fit the changed class too. Files of earlier versions do not say which code was theirs."""
    code, exported, earlier = tmp_path / "mine.py", tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    code.write_text("from torch import nn\nclass Gate(nn.Module):\n    def forward(self, x): return x")
    trained = load_trained_network(trained_run(tmp_path / "runs", attn=f"{code}:Gate")[0])
    export_network(trained, "safetensors", exported)
    load_exported(exported)
    with safe_open(exported, framework="pt") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "attncli.own_code"}
    save_file(load_file(exported), earlier, metadata)
    code.write_text(code.read_text() + " * 2")
    with pytest.raises(UserError, match=r"mine\.py:Gate has changed"):
        load_exported(exported)
    assert load_exported(earlier).recipe == trained.recipe
