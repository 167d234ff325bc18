"""The plan against the folder of runs: what is finished, what is begun, how long the rest may take."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from attncli import attention, data
from attncli.jobs.plan import group_mechanisms, plan_sweep
from attncli.measure.environment import describe_machine
from attncli.measure.speed_cache import get_or_measure_speed, make_speed_key
from attncli.recipe import Recipe
from attncli.records import Result
from attncli.report import sweep_summary
from attncli.system import hardware
from tests.measure.test_speed_cache import SPEED
from tests.report.test_run_progress import result

SWEEP = """
recipe: {model: {backbone: resnet20}, train: {epochs: 4}, measure: {speed: false}}
axes: {attn: [se, eca], seeds: 2}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep's file, on a machine of four cores."""
    monkeypatch.setattr(hardware, "count_cores", lambda: 4)
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    return path


def finish(runs: Path, recipe: Recipe, **values: object) -> Result:
    """A finished run's folder."""
    made = result(
        digest=recipe.compute_digest(), dataset=recipe.data.name, epochs=recipe.train.epochs, device="cpu",
        **{"seconds": 8.0, "machine": {"threads": 4}} | values,
    )  # fmt: skip
    folder = runs / recipe.compute_digest()
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "result.json").write_text(json.dumps(asdict(made)))
    return made


def test_nothing_is_known_of_an_empty_folder(file: Path, tmp_path: Path) -> None:
    """Every run is to do, and how long it takes is told as unknown, not guessed."""
    made = plan_sweep(file, runs=tmp_path / "runs")
    assert made.name == "s"
    assert made.unfinished_runs == made.runs
    assert [run.expected_seconds for run in made.runs] == [None] * 6
    assert made.estimate_seconds() == (0, 6)
    assert not (tmp_path / "runs").exists()


def test_finished_runs_are_known_by_their_digest(file: Path, tmp_path: Path) -> None:
    """A result ends a run for good; one key changed is another run; a checkpoint alone is a beginning."""
    runs = tmp_path / "runs"
    first = plan_sweep(file, runs=runs).runs
    finish(runs, first[1].recipe)
    begun = runs / first[2].digest / "checkpoint"
    begun.mkdir(parents=True)
    (begun / "state.json").write_text("{}")
    made = plan_sweep(file, runs=runs)
    assert [run.to_json_dict()["status"] for run in made.runs] == ["new", "finished", "begun", "new", "new", "new"]
    assert len(plan_sweep(file, runs=runs, overrides=["train.lr=0.2"]).unfinished_runs) == 6
    assert len(plan_sweep(file, runs=runs, overrides=["data.root=elsewhere"]).unfinished_runs) == 5


def test_time_is_told_from_like_runs(file: Path, tmp_path: Path) -> None:
    """The same recipe with another seed counts most, with epochs in proportion; else another mechanism; else none."""
    runs = tmp_path / "runs"
    none, se, _ = (run.recipe for run in plan_sweep(file, runs=runs).runs[:3])
    finish(runs, se, seconds=8.0)
    finish(runs, none, seconds=2.0)
    made = plan_sweep(file, runs=runs)
    assert [run.expected_seconds for run in made.runs] == [None, None, 5.0, 2.0, 8.0, 5.0]
    assert made.estimate_seconds() == (20.0, 0)
    longer = plan_sweep(file, runs=runs, overrides=["train.epochs=8"])
    assert [run.expected_seconds for run in longer.runs[:3]] == [4.0, 16.0, 10.0]
    assert plan_sweep(file, runs=runs, overrides=["train.batch_size=7"]).estimate_seconds() == (0, 6)


def test_a_share_of_the_machine_is_counted_as_such(file: Path, tmp_path: Path) -> None:
    """Eight seconds on one of four cores are two of the machine; timings of each network are added."""
    runs = tmp_path / "runs"
    finish(runs, plan_sweep(file, runs=runs).runs[1].recipe, seconds=8.0, machine={"threads": 1})
    made = plan_sweep(file, runs=runs, overrides=["measure.speed=true", "measure.seconds=3"])
    assert made.runs[4].expected_seconds == 2.0
    assert made.estimate_seconds() == (5 * 2.0 + 3 * 3.0, 0)


def time_it(runs: Path, recipe: Recipe, **values: object) -> None:
    """A network's speed in the file of speeds, for images of the digits, on this machine but for `values`."""
    speed = replace(SPEED, train_images_per_s=636.5, infer_images_per_s=2000.0, threads=2)
    speed = replace(speed, baseline_train_images_per_s=1273.0, baseline_infer_images_per_s=4000.0)
    here = describe_machine() | values
    key = make_speed_key(recipe, 10, (8, 8), None, "fp32", here)
    get_or_measure_speed(runs / "speeds.json", key, lambda: speed, requested_precision=recipe.train.precision)


def test_time_is_told_from_a_cached_speed(file: Path, tmp_path: Path) -> None:
    """By hand: 4 epochs x 1273 / 636.5 + (4 x 142 + 382) / 2000 s, a twentieth more, on two cores of four."""
    runs = tmp_path / "runs"
    recipes = [run.recipe for run in plan_sweep(file, runs=runs).runs[:3]]
    data.load(recipes[0].data, cache=runs / "cache")
    time_it(runs, recipes[1])
    made = plan_sweep(file, runs=runs)
    se, none = (1.05 * (8 + 950 / 2000) / 2, 1.05 * (4 + 950 / 4000) / 2)
    assert [run.expected_seconds for run in made.runs] == [pytest.approx(none), pytest.approx(se), None] * 2
    assert [run.to_json_dict()["seconds_by"] for run in made.runs] == ["cached speed", "cached speed", "unknown"] * 2
    assert made.count_estimates() == {"cached speed": 4}
    remaining = sweep_summary.format_remaining(made)
    assert "about 0:13 for 4 (cached speed: 4), and 2 " in remaining
    finish(runs, recipes[1], seconds=6.0)
    by = [run.to_json_dict()["seconds_by"] for run in plan_sweep(file, runs=runs).runs]
    assert by == ["cached speed", None, "similar run", "cached speed", "measured run", "similar run"]


def test_every_seed_of_a_plan_knows_the_size_of_its_own_cut(file: Path, tmp_path: Path) -> None:
    """With data.subset_seed=run the images are cut anew for each seed, of which one was read."""
    runs, own_cut = tmp_path / "runs", ["data.subset_seed=run"]
    recipes = [run.recipe for run in plan_sweep(file, runs=runs, overrides=own_cut).runs]
    data.load(recipes[0].resolve_data(), cache=runs / "cache")
    time_it(runs, recipes[1])
    made = plan_sweep(file, runs=runs, overrides=own_cut)
    assert {run.recipe.seed for run in made.runs if run.estimate} == {0, 1}


@pytest.mark.parametrize(
    "override",
    ["train.batch_size=64", "model.stages=[1]", "data.image_size=16", "data.classes=4", "train.precision=bf16"],
)
def test_a_speed_is_only_of_its_own_network_and_training(file: Path, tmp_path: Path, override: str) -> None:
    """Anything that changes the time of a step makes a cached speed another's."""
    runs = tmp_path / "runs"
    recipe = plan_sweep(file, runs=runs, overrides=["train.precision=fp32"]).runs[1].recipe
    changed = plan_sweep(file, runs=runs, overrides=["train.precision=fp32", override])
    for one in (recipe, changed.runs[1].recipe):
        data.load(one.data, cache=runs / "cache")
    time_it(runs, recipe)
    assert plan_sweep(file, runs=runs, overrides=["train.precision=fp32"]).runs[1].expected_seconds is not None
    assert plan_sweep(file, runs=runs, overrides=["train.precision=fp32", override]).runs[1].expected_seconds is None


@pytest.mark.parametrize("other", [{"cpu": "another"}, {"torch": "1.0"}, {"gpu": "NVIDIA Z1"}, {"usable_cpus": 999}])
def test_a_speed_of_another_machine_is_none_of_this_one(file: Path, tmp_path: Path, other: dict[str, object]) -> None:
    """A folder of runs that came from elsewhere, or from before another torch, says nothing about time here."""
    runs = tmp_path / "runs"
    recipe = plan_sweep(file, runs=runs).runs[1].recipe
    data.load(recipe.data, cache=runs / "cache")
    time_it(runs, recipe, **other)
    assert plan_sweep(file, runs=runs).estimate_seconds() == (0, 6)


def test_what_is_timed_is_not_timed_again(file: Path, tmp_path: Path) -> None:
    """Time for measuring the speed is added for the networks whose speed is not known as it is wanted."""
    runs, asked = tmp_path / "runs", ["measure.speed=true", "measure.seconds=3"]
    recipe = plan_sweep(file, runs=runs, overrides=asked).runs[1].recipe
    data.load(recipe.data, cache=runs / "cache")
    time_it(runs, recipe)
    made = plan_sweep(file, runs=runs, overrides=asked)
    assert [run.is_timed for run in made.runs] == [False, True, False] * 2
    known = sum(run.expected_seconds or 0 for run in made.runs)
    assert made.estimate_seconds()[0] == pytest.approx(known + 2 * 3.0)
    again = plan_sweep(file, runs=runs, overrides=[*asked, "measure.repeats=11"])
    assert again.estimate_seconds()[0] == pytest.approx(known + 3 * 3.0)


def test_old_files_of_speeds_are_read(file: Path, tmp_path: Path) -> None:
    """An entry of before says nothing to a plan, and is still the speed of its network."""
    runs = tmp_path / "runs"
    recipe = plan_sweep(file, runs=runs).runs[1].recipe
    time_it(runs, recipe)
    path = runs / "speeds.json"
    old = {name: {k: v for k, v in e.items() if k != "of"} for name, e in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(old))
    data.load(recipe.data, cache=runs / "cache")
    assert plan_sweep(file, runs=runs).estimate_seconds() == (0, 6)
    key = make_speed_key(recipe, 10, (8, 8), None, "fp32", describe_machine())
    assert get_or_measure_speed(path, key, lambda: pytest.fail("measured again")).train_images_per_s == 636.5


def test_a_damaged_folder_is_no_knowledge(file: Path, tmp_path: Path) -> None:
    """A result without its recipe, or none that can be read, is passed over."""
    runs = tmp_path / "runs"
    first, second = (run.recipe for run in plan_sweep(file, runs=runs).runs[:2])
    finish(runs, first)
    (runs / first.compute_digest() / "recipe.yaml").unlink()
    finish(runs, second)
    (runs / second.compute_digest() / "result.json").write_text("{")
    made = plan_sweep(file, runs=runs)
    assert [run.is_finished for run in made.runs[:2]] == [True, False]
    assert made.estimate_seconds() == (0, 5)


def test_categories_are_those_of_the_folders() -> None:
    """Every mechanism is in `all`, ours each in one category."""
    found = group_mechanisms()
    assert set(found) == {"all", *attention.CATEGORIES}
    ours = [name for category in attention.CATEGORIES for name in found[category]]
    assert len(ours) == len(set(ours))
    assert set(ours) <= set(found["all"]) == set(attention.mechanism_names())
