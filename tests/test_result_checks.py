"""A file of results that somebody sends is checked: every kind of damage has its own line."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from attncli.records import LOG, RESULT, Epoch, Evaluation, Result, append_record, read_result
from attncli.result_checks import find_result_problems
from attncli.result_files import RESULTS_INFO, export_results, extract_results
from attncli.runs import RECIPE, read_folder_runs
from attncli.track.predictions import PREDICTIONS_FILE, write_predictions
from attncli.track.provenance import ORIGIN_FILE, DatasetInfo, Provenance, identify_process, write_provenance
from tests.claims.case import run
from tests.commands import plugins
from tests.commands.line import line, refused

IMAGES, CLASSES = 200, 4


def write_whole_run(folder: Path, attn: str, *, correct: int = 150, seed: int = 0, **keys) -> Path:
    """A finished run with all that travels: `correct` of IMAGES test images, in the order of the seed."""
    recipe = run(folder, attn=attn, seed=seed, top1=correct / IMAGES, **{"train__epochs": 1} | keys)
    place = folder / recipe.compute_digest()
    generator = np.random.default_rng(seed + correct)
    labels = np.arange(IMAGES) % CLASSES
    wrong = generator.permutation(IMAGES)[correct:]
    predicted = labels.copy()
    predicted[wrong] = (labels[wrong] + generator.integers(1, CLASSES, len(wrong))) % CLASSES
    write_predictions(place, predicted, labels, CLASSES)
    confusion = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    append_record(place, Epoch(epoch=1, train_loss=1.0, lr=0.1, train_images_per_s=200.0, train_seconds=0.5))
    append_record(
        place,
        Evaluation(split="test", images=IMAGES, loss=1.0, top1=correct / IMAGES, top5=1.0, images_per_s=9.0,
                   confusion=confusion.tolist()),
    )  # fmt: skip
    change_result(place, test_images=IMAGES, test_correct=correct, macs=40_000_000)
    facts = DatasetInfo(name="digits", digest="d" * 64, source="/home/me/images", classes=tuple("abcd"), size=(8, 8),
                        train=9, val=0, test=IMAGES)  # fmt: skip
    provenance = Provenance(digest=place.name, group=recipe.compute_group(), started_ms=1, process=identify_process(),
                            facts=facts, status="FINISHED", ended_ms=2)  # fmt: skip
    write_provenance(place, provenance)
    return place


def change_result(place: Path, **values: object) -> None:
    """Other values in the result of a run."""
    result = read_result(place)
    assert isinstance(result, Result)
    (place / RESULT).write_text(json.dumps(asdict(replace(result, **values))))


def export_folder(folder: Path, file: Path) -> Path:
    """The runs of a folder as a file of results."""
    export_results(list(read_folder_runs(folder)), file)
    return file


@pytest.fixture
def extracted(tmp_path: Path) -> Path:
    """The folder of a good file with two runs, of which the first is the plain network's."""
    for attn, correct in (("none", 150), ("eca", 160)):
        write_whole_run(tmp_path / "runs", attn, correct=correct, data__name="folder", data__root="/home/me/images")
    extract_results(export_folder(tmp_path / "runs", tmp_path / "a.results"), tmp_path / "out")
    return tmp_path / "out"


def list_info(folder: Path) -> dict[str, list[str]]:
    """What the file says that it has."""
    return {"runs": sorted(path.name for path in folder.iterdir())}


def test_a_good_file_has_no_problem_and_no_path(extracted: Path) -> None:
    """Nothing is wrong, and neither the path of the images nor the name of the machine travels."""
    assert find_result_problems(extracted, list_info(extracted)) == []
    texts = [path.read_text() for path in extracted.rglob("*") if path.suffix in (".json", ".yaml")]
    assert len(texts) == 6
    assert not any("/home/me" in text or identify_process().host in text for text in texts)


def damage_log(place: Path) -> None:
    """An epoch more than the run had, at a speed that nothing has."""
    append_record(place, Epoch(epoch=2, train_loss=1.0, lr=0.1, train_images_per_s=1e9, train_seconds=9.0))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "not FINISHED": lambda place: (place / ORIGIN_FILE).write_text(
        (place / ORIGIN_FILE).read_text().replace("FINISHED", "KILLED")
    ),
    "origin.json: missing": lambda place: (place / ORIGIN_FILE).unlink(),
    "result.json: missing": lambda place: (place / RESULT).write_text("{}"),
    "predictions.npz: missing": lambda place: (place / PREDICTIONS_FILE).unlink(),
    "no evaluation": lambda place: (place / LOG).write_text(""),
    "the digest of its recipe": lambda place: (place / RECIPE).write_text(
        (place / RECIPE).read_text().replace("batch_size: 128", "batch_size: 64", 1)
    ),
    "recipe.yaml: model.attn": lambda place: (place / RECIPE).write_text(
        (place / RECIPE).read_text().replace("attn: none", "attn: nono").replace("attn: eca", "attn: nono")
    ),
    "seed is 7 in the result": lambda place: change_result(place, seed=7),
    "test images, and how many": lambda place: change_result(place, test_correct=199, test_top1=199 / IMAGES),
    "top-1 is": lambda place: change_result(place, test_top1=0.999),
    "digest of the images": lambda place: change_result(place, data_digest="e" * 64),
    "the confusion matrix has not": lambda place: (place / LOG).write_text(
        (place / LOG).read_text().replace('"confusion": [[', '"confusion": [[1], [')
    ),
    "predictions.npz: missing, or not predictions": lambda place: np.savez(
        place / PREDICTIONS_FILE, predicted=np.arange(3), labels=np.arange(4)
    ),
    "images/s cannot be": damage_log,
    "trained for": damage_log,
    "2 epochs, and 1": damage_log,
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_every_damage_is_named_with_its_run(extracted: Path, problem: str) -> None:
    """One run is damaged: each line is about it, and one of them says what it is."""
    place = sorted(extracted.iterdir())[1]
    DAMAGES[problem](place)
    problems = find_result_problems(extracted, list_info(extracted))
    assert any(problem in text for text in problems)
    assert all(text.startswith(place.name) for text in problems)


def test_copies_and_missing_runs_are_problems(extracted: Path) -> None:
    """The predictions of one network under the name of another; a run that is listed and not there, or twice."""
    first, second = sorted(extracted.iterdir())
    (second / PREDICTIONS_FILE).write_bytes((first / PREDICTIONS_FILE).read_bytes())
    problems = find_result_problems(extracted, {"runs": [first.name, first.name, "0123456789ab"]})
    assert f"{second.name}: predicts the same for every test image as {first.name}" in problems
    for text in (f"{first.name}: 2 times", "0123456789ab: in the list", f"{second.name}: in the file, but not"):
        assert any(problem.startswith(text) for problem in problems)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 for a good file, 1 with a line per problem for a bad one, 2 for another kind of file."""
    monkeypatch.chdir(tmp_path)
    place = write_whole_run(tmp_path / "runs", "none")
    export_folder(tmp_path / "runs", tmp_path / "good.results")
    assert line("results", "verify", "good.results", "--json").json()["problems"] == []
    change_result(place, seed=7)
    export_folder(tmp_path / "runs", tmp_path / "bad.results")
    outcome = line("results", "verify", "bad.results")
    assert outcome.code == 1
    assert place.name in outcome.out
    (tmp_path / RESULTS_INFO).write_text("{}")
    refused(line("results", "verify", RESULTS_INFO), "not a file of results")


def test_shipped_results_are_listed_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With runs of one's own that pair with nothing, and with others on the same images under another path."""
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "shipped" / "results" / "small.results"
    for seed in range(3):
        for attn, correct in (("none", 150), ("eca", 160 + seed)):
            write_whole_run(tmp_path / "theirs", attn, correct=correct, seed=seed, data__name="folder",
                            data__root="/theirs")  # fmt: skip
        write_whole_run(tmp_path / "runs", "se", correct=170 + seed, seed=seed, data__name="folder", data__root="/own")
    write_whole_run(tmp_path / "runs", "none", data__name="cifar10")
    export_results(list(read_folder_runs(tmp_path / "theirs")), shipped, folder_is="svhn")
    monkeypatch.setattr("attncli.recipe.library.find_shipped_folder", lambda: tmp_path / "shipped")
    (row,) = line("results", "ls", "--json").json()
    assert "small" in line("results").out
    assert (row["name"], row["runs"], row["dataset"], row["mechanisms"], row["seeds"]) == ("small", 6, "svhn", 2, 3)
    rows = line("compare", "--shipped", "small", "--json", "--no-plot").json()
    assert {(r["dataset"], r["attn"]): r["n"] for r in rows} == {
        ("svhn", "none"): 3, ("svhn", "eca"): 3, ("svhn", "se"): 3, ("cifar10", "none"): 1,
    }  # fmt: skip
    alone = line("compare", "--shipped", "small", "--json", "--alone").json()
    assert {r["attn"]: r["n"] for r in alone} == {"none": 3, "eca": 3}
    refused(line("compare", "--shipped", "smal"), "smal")


@pytest.mark.parametrize(
    ("wrong", "classes", "is_copy"), [(range(20), 4, True), (range(19), 4, False), (range(50, 200), 1, False)]
)
def test_networks_that_agree_by_chance_are_no_copies(
    extracted: Path, wrong: range, classes: int, is_copy: bool
) -> None:
    """Good networks make the same few errors or none, and bad ones predict the most frequent class of every image."""
    labels = np.zeros(IMAGES, dtype=int) if classes == 1 else np.arange(IMAGES) % classes
    predicted = labels.copy()
    labels[list(wrong)] = (labels[list(wrong)] + 1) % CLASSES
    places = sorted(extracted.iterdir())
    for place in places:
        write_predictions(place, predicted, labels, CLASSES)
    problems = find_result_problems(extracted, {"runs": [place.name for place in places]})
    assert any("predicts the same for every test image" in problem for problem in problems) == is_copy


def test_files_of_their_author_need_not_be_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, weights and classes stay behind: a note says what was not checked, and other errors are problems."""
    monkeypatch.chdir(tmp_path)
    plugins.write(tmp_path / "mine.py")
    Path("classes.txt").write_text("a\nb\n")
    Path("weights.pth").write_text("")
    own_files = {"data__classes": "classes.txt", "model__pretrained": "weights.pth"}
    folder = {"data__name": "folder", "data__root": "/home/me/images"}
    for attn, correct in (("mine.py:Attention", 150), ("se+mine.py:Attention", 160)):
        write_whole_run(tmp_path / "runs", attn, correct=correct, **own_files, **folder)
    export_folder(tmp_path / "runs", tmp_path / "a.results")
    for remove in (lambda: plugins.write(tmp_path / "mine.py", "x"), lambda: Path("mine.py").unlink()):
        remove()
        for name in ("classes.txt", "weights.pth"):
            Path(name).unlink(missing_ok=True)
        outcome = line("results", "verify", "a.results", "--json")
        assert (outcome.code, outcome.json()["problems"]) == (0, [])
        for part in ("2 runs", "mine.py:Attention", "classes.txt", "weights.pth"):
            assert part in outcome.err
    extract_results(tmp_path / "a.results", tmp_path / "out")
    for path in tmp_path.glob("out/*/" + RECIPE):
        path.write_text(path.read_text().replace("attn: se+", "attn: nono+").replace("resnet20", "resnet21"))
    problems = find_result_problems(tmp_path / "out", list_info(tmp_path / "out"))
    assert sum("model.backbone" in problem for problem in problems) == 2
    assert sum("nono" in problem for problem in problems) == 1


def test_the_speed_of_several_processes_is_that_of_all(extracted: Path) -> None:
    """What one device cannot do, eight can."""
    for processes, is_possible in ((1, False), (8, True)):
        for place in extracted.iterdir():
            log = place / LOG
            log.write_text(log.read_text().replace('"train_images_per_s": 200.0', '"train_images_per_s": 3e5'))
            change_result(place, machine={"processes": processes})
        problems = find_result_problems(extracted, list_info(extracted))
        assert any("cannot be" in problem for problem in problems) != is_possible
