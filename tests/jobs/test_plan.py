"""The plan against the folder of runs: what is finished, what is begun, how long the rest may take."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from attncli import attention
from attncli.jobs import devices
from attncli.jobs.plan import categories, plan
from attncli.recipe import Recipe
from attncli.records import Result
from tests.report.test_live import result

SWEEP = """
recipe: {model: {backbone: resnet20}, train: {epochs: 4}, measure: {speed: false}}
axes: {attn: [se, eca], seeds: 2}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep's file, on a machine of four cores."""
    monkeypatch.setattr(devices, "cores", lambda: 4)
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    return path


def finish(runs: Path, recipe: Recipe, **values: object) -> Result:
    """A finished run's folder."""
    made = result(
        digest=recipe.digest(), dataset=recipe.data.name, epochs=recipe.train.epochs, device="cpu",
        **{"seconds": 8.0, "machine": {"threads": 4}} | values,
    )  # fmt: skip
    folder = runs / recipe.digest()
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.yaml())
    (folder / "result.json").write_text(json.dumps(asdict(made)))
    return made


def test_nothing_is_known_of_an_empty_folder(file: Path, tmp_path: Path) -> None:
    """Every run is to do, and how long it takes is told as unknown, not guessed."""
    made = plan(file, runs=tmp_path / "runs")
    assert made.name == "s"
    assert made.todo == made.runs
    assert [run.seconds for run in made.runs] == [None] * 6
    assert made.seconds() == (0, 6)
    assert not (tmp_path / "runs").exists()


def test_finished_runs_are_known_by_their_digest(file: Path, tmp_path: Path) -> None:
    """A result ends a run for good; one key changed is another run; a checkpoint alone is a beginning."""
    runs = tmp_path / "runs"
    first = plan(file, runs=runs).runs
    finish(runs, first[1].recipe)
    begun = runs / first[2].digest / "checkpoint"
    begun.mkdir(parents=True)
    (begun / "state.json").write_text("{}")
    made = plan(file, runs=runs)
    assert [run.plain()["status"] for run in made.runs] == ["new", "finished", "begun", "new", "new", "new"]
    assert len(plan(file, runs=runs, overrides=["train.lr=0.2"]).todo) == 6
    assert len(plan(file, runs=runs, overrides=["data.root=elsewhere"]).todo) == 5


def test_time_is_told_from_like_runs(file: Path, tmp_path: Path) -> None:
    """The same recipe with another seed counts most, with epochs in proportion; else another mechanism; else none."""
    runs = tmp_path / "runs"
    none, se, _ = (run.recipe for run in plan(file, runs=runs).runs[:3])
    finish(runs, se, seconds=8.0)
    finish(runs, none, seconds=2.0)
    made = plan(file, runs=runs)
    assert [run.seconds for run in made.runs] == [None, None, 5.0, 2.0, 8.0, 5.0]
    assert made.seconds() == (20.0, 0)
    longer = plan(file, runs=runs, overrides=["train.epochs=8"])
    assert [run.seconds for run in longer.runs[:3]] == [4.0, 16.0, 10.0]
    assert plan(file, runs=runs, overrides=["train.batch_size=7"]).seconds() == (0, 6)


def test_a_share_of_the_machine_is_counted_as_such(file: Path, tmp_path: Path) -> None:
    """Eight seconds on one of four cores are two of the machine; timings of each network are added."""
    runs = tmp_path / "runs"
    finish(runs, plan(file, runs=runs).runs[1].recipe, seconds=8.0, machine={"threads": 1})
    made = plan(file, runs=runs, overrides=["measure.speed=true", "measure.seconds=3"])
    assert made.runs[4].seconds == 2.0
    assert made.seconds() == (5 * 2.0 + 3 * 3.0, 0)


def test_a_damaged_folder_is_no_knowledge(file: Path, tmp_path: Path) -> None:
    """A result without its recipe, or none that can be read, is passed over."""
    runs = tmp_path / "runs"
    first, second = (run.recipe for run in plan(file, runs=runs).runs[:2])
    finish(runs, first)
    (runs / first.digest() / "recipe.yaml").unlink()
    finish(runs, second)
    (runs / second.digest() / "result.json").write_text("{")
    made = plan(file, runs=runs)
    assert [run.finished for run in made.runs[:2]] == [True, False]
    assert made.seconds() == (0, 5)


def test_categories_are_those_of_the_folders() -> None:
    """Every mechanism is in `all`, ours each in one category."""
    found = categories()
    assert set(found) == {"all", *attention.CATEGORIES}
    ours = [name for category in attention.CATEGORIES for name in found[category]]
    assert len(ours) == len(set(ours))
    assert set(ours) <= set(found["all"]) == set(attention.names())
