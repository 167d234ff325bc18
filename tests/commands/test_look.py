"""`attncli look` from the command line: finds a run, draws, and puts the pictures into MLflow."""

import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from attncli import track
from attncli.track import RunStore
from tests.commands.line import TINY, line, refused


@pytest.fixture(scope="module", autouse=True)
def _two_sites_a_sheet() -> Iterator[None]:
    """A sheet shows the first site and the last: six take three times as long to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("attncli.report.attention_figures.image_sheet"), "MAX_ROWS", 2)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of eca, drawn at its end, and its plain network's."""
    folder = tmp_path_factory.mktemp("look") / "runs"
    for words in (("--attn", "none"), ("--attn", "eca", "--look")):
        assert line("run", *TINY, *words, "-q", "--runs", str(folder)).code == 0
    return folder


def files(runs: Path, digest: str) -> set[str]:
    """What the run has under look/ in MLflow."""
    from mlflow import MlflowClient

    (row,) = [r for r in track.list_run_rows(RunStore(runs)) if r["digest"] == digest]
    return {f.path for f in MlflowClient(RunStore(runs).resolve_address()).list_artifacts(row["run_id"], "look")}


def test_look_draws_what_it_says(runs: Path) -> None:
    """Every file is an image, beside the plain network's prediction; the same pictures are in MLflow."""
    told = line("look", "eca-resnet20-s0", "--images", "2", "--sample", "20", "--json", "--runs", str(runs)).json()
    assert told["sample"] == 20
    assert len(told["sites"]) == 9
    assert 0 < told["sites"][0]["mean"] < 1
    assert told["baseline"]
    assert len(told["images"]) == 2
    for image in told["images"]:
        assert image["plain_predicted"] is not None
        with Image.open(image["file"]) as picture:
            assert picture.width > 1000
    names = {f"look/{Path(image['file']).name}" for image in told["images"]}
    assert files(runs, told["digest"]) >= {*names, "look/attention.png"}


def test_a_plain_network_that_is_missing_is_told(runs: Path, tmp_path: Path) -> None:
    """With the command that trains it; beside the plain network, or for it, nothing is missing."""
    words = ("--images", "1", "--sample", "4", "--no-track", "--out", str(tmp_path / "look"))
    (folder,) = [f for f in runs.glob("*/look") if f.is_dir()]
    shutil.copytree(folder.parent, tmp_path / "alone" / folder.parent.name)
    alone = line("look", "eca-resnet20-s0", *words, "--runs", str(tmp_path / "alone"))
    assert alone.code == 0
    words_of_run = shlex.split(alone.err.strip().partition(": ")[2].strip("`"))
    assert words_of_run[:6] == ["attncli", "run", "--attn", "none", "--backbone", "resnet20"]
    assert words_of_run[-2:] == ["--runs", str(tmp_path / "alone")]
    assert "attncli run" not in line("look", "eca-resnet20-s0", *words, "--runs", str(runs)).err
    assert "attncli run" not in line("look", "none-resnet20-s0", *words, "--runs", str(runs)).err


def test_a_plain_network_without_a_checkpoint_is_left_out(runs: Path, tmp_path: Path) -> None:
    """The pictures are drawn without it, and why is said."""
    for origin in runs.glob("*/origin.json"):
        shutil.copytree(origin.parent, tmp_path / origin.parent.name)
    (plain,) = [f.parent for f in runs.glob("*/checkpoint") if not (f.parent / "look").exists()]
    shutil.rmtree(tmp_path / plain.name / "checkpoint")
    words = ("--images", "1", "--sample", "4", "--no-track", "--json", "--runs", str(tmp_path))
    drawn = line("look", "eca-resnet20-s0", *words)
    assert drawn.code == 0
    assert drawn.json()["baseline"] is None
    assert "there is no checkpoint" in drawn.json()["baseline_problem"]


def test_run_look_draws_at_the_end(runs: Path) -> None:
    """The run that was asked for it has six sheets in MLflow, its plain network none."""
    found = {r["attn"]: files(runs, r["digest"]) for r in track.list_run_rows(RunStore(runs))}
    assert len([name for name in found["eca"] if "look-" in name]) >= 6
    assert found["none"] == set()


def test_other_folders_and_no_tracking(runs: Path, tmp_path: Path) -> None:
    """`--out` gets the pictures; a digest's beginning names a run; a plain network is Grad-CAM alone."""
    digest = next(r["digest"] for r in track.list_run_rows(RunStore(runs)) if r["attn"] == "none")
    words = ("--images", "1", "--sample", "4", "--no-track", "--out", str(tmp_path / "out"), "--runs", str(runs))
    assert line("look", digest[:6], *words).code == 0
    assert [p.name.startswith("look-") for p in (tmp_path / "out").iterdir()] == [True]
    assert files(runs, digest) == set()


def test_what_cannot_be_looked_at_is_told(runs: Path, tmp_path: Path) -> None:
    """Unknown names get the nearest one; a run without its checkpoint is told so."""
    refused(line("look", "eca-resnet20-s9", "--runs", str(runs)), "eca-resnet20-s0")
    refused(line("look", "eca", "--runs", str(tmp_path)), "no runs")
