"""A folder of runs and an MLflow store that version 0.1.0 wrote (commit 663fd9b): today's commands find all of it.

The archive holds six finished runs of a sweep (none, eca and se with two seeds), one finished run with measured speed,
one run that was stopped after two of three epochs, with its checkpoint, and the MLflow store of all eight. The JSON
files beside it are what that version printed about them.
"""

import importlib.util
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from attncli import records
from attncli.records import Epoch
from attncli.train import precision
from tests.commands.line import line

HERE = Path(__file__).parent
STORE_REVISION = "dc11669786a5"  # of the archived store's tables
STOPPED = "a9fcbec13583"
FINISHED = "0cf8ffe1cebb"


@pytest.fixture
def earlier_runs(tmp_path, monkeypatch):
    """The folder of version 0.1.0, unpacked in the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return unpack_earlier_runs(tmp_path)


def unpack_earlier_runs(folder: Path) -> Path:
    """Unpack the archive into a folder and return its folder of runs; skip the test if MLflow is too old to read it."""
    mlflow = importlib.util.find_spec("mlflow")
    assert mlflow is not None
    assert mlflow.origin is not None
    if not list((Path(mlflow.origin).parent / "store/db_migrations/versions").glob(f"{STORE_REVISION}*")):
        pytest.skip("the installed MLflow is older than the one that wrote the store")
    with tarfile.open(HERE / "runs-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs"


@pytest.fixture
def earlier_digits(monkeypatch):
    """The digits as version 0.1.0 cut them, so that the recipes of its runs mean the same images."""
    from attncli.data import subset
    from attncli.data.datasets import digits

    monkeypatch.setattr(digits, "cut_forms", lambda labels, data: subset.cut_test(labels, "digits-test"))


def read_expected(name: str) -> list[dict]:
    """What version 0.1.0 printed."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def assert_same_values(actual: dict, expected: dict) -> None:
    """Assert that every field which 0.1.0 printed is there with its value; new fields are allowed."""
    assert {key: actual[key] for key in expected} == pytest.approx(expected)


def test_every_run_is_listed(earlier_runs):
    """`ls runs` prints the eight runs with the values of then."""
    actual, expected = line("ls", "runs", "--json").json(), read_expected("runs-0.1.0.json")
    assert [run["digest"] for run in actual] == [run["digest"] for run in expected]
    for now, then in zip(actual, expected, strict=True):
        assert {key: now[key] for key in then} == then


def test_means_and_costs_of_the_comparison_are_those_of_then(earlier_runs):
    """`compare` finds the same rows, seeds, runs, means and overheads."""
    actual, expected = line("compare", "--json").json(), read_expected("compare-0.1.0.json")
    fields = ("dataset", "backbone", "attn", "n", "seeds", "top1", "params", "params_added", "macs", "group", "run_ids")
    assert len(actual) == len(expected)
    for now, then in zip(actual, expected, strict=True):
        assert_same_values(
            {key: now[key] for key in fields if isinstance(then[key], float)},
            {key: then[key] for key in fields if isinstance(then[key], float)},
        )
        rest = [key for key in fields if not isinstance(then[key], float)]
        assert [now[key] for key in rest] == [then[key] for key in rest]


def test_a_run_on_the_digits_of_then_is_another_run(earlier_runs):
    """Today's digits are cut otherwise: the finished run stays as it is, and the same command is another run."""
    before = (earlier_runs / FINISHED / "result.json").read_bytes()
    command = ("run", "--attn", "eca", "--backbone", "resnet20", "--epochs", "1", "--seed", "7", "--json",
               "--set", "measure.speed=false")  # fmt: skip
    result = line(*command).json()
    assert result["digest"] != FINISHED
    assert result["test_images"] == 382
    assert (earlier_runs / FINISHED / "result.json").read_bytes() == before
    assert line(*command).json()["digest"] == result["digest"]


def test_a_finished_run_is_shown_and_not_trained_again(earlier_runs, earlier_digits):
    """The recipe of a finished run has the digest of then, and the result on disk is printed."""
    before = (earlier_runs / FINISHED / "result.json").read_bytes()
    result = line("run", "--attn", "eca", "--backbone", "resnet20", "--epochs", "1", "--seed", "7", "--json").json()
    assert (result["digest"], result["params"], result["macs"]) == (FINISHED, 269749, 2536048)
    assert result["test_top1"] == 112 / 359
    assert (earlier_runs / FINISHED / "result.json").read_bytes() == before


def test_a_stopped_run_resumes_from_its_checkpoint(earlier_runs, earlier_digits, monkeypatch):
    """Its first two epochs are those of then; only the third is trained. The run keeps its entry in the store.

    It was trained in fp32, which `auto` chooses on a machine without native bf16; another one refuses its checkpoint.
    """
    monkeypatch.setattr(precision, "_read_cpu_features", set)
    earlier_epochs = records.read(earlier_runs / STOPPED)
    done = line(
        "run", "--attn", "none", "--backbone", "resnet20", "--epochs", "3", "--set", "measure.speed=false",
        "--seed", "5", "--json", "-q",
    )  # fmt: skip
    assert done.json()["digest"] == STOPPED
    epochs = [record for record in records.read(earlier_runs / STOPPED) if isinstance(record, Epoch)]
    assert epochs[:2] == earlier_epochs
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    with closing(sqlite3.connect(earlier_runs / "mlflow.db")) as store:
        rows = store.execute(
            "select status from runs join tags on runs.run_uuid = tags.run_uuid where key = 'digest' and value = ?",
            [STOPPED],
        ).fetchall()
    assert rows == [("FINISHED",)]
