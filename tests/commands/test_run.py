"""`attncli run` from the command line: what it prints, what it leaves, and that no end loses or doubles anything."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import attncli.run.execute
import attncli.run.stages
from attncli import recipe as recipes
from attncli import records, track
from attncli.commands import run as run_command
from attncli.errors import RunFailedError
from attncli.recipe import Recipe
from attncli.report.run_progress import RunProgress
from attncli.track import RunStore
from attncli.track.metrics import collect_run_metrics
from tests.commands import plugins
from tests.commands.line import TINY, Done, line, process, refused, run_folders
from tests.data.image_fixtures import folder
from tests.track.test_image_identity import finish, swap_classes

KEYS = {
    "digest": str, "run_id": str, "status": str, "attn": str, "backbone": str, "dataset": str, "seed": int,
    "epochs": int, "test_top1": float, "test_top5": float, "params": int, "baseline_params": int, "macs": int,
    "baseline_macs": int, "train_images_per_s": float, "infer_images_per_s": float, "train_ratio": float,
    "infer_ratio": float, "seconds": float,
}  # fmt: skip


def test_json_is_one_object() -> None:
    """`--json` prints the promised keys, each of its type, and nothing else on stdout."""
    quick = ("--set", "measure.speed=true", "--set", "measure.repeats=3", "--set", "measure.seconds=0.2")
    done = line("run", *TINY, *quick, "--attn", "eca", "--seed", "5", "--json")
    result = done.json()
    assert {key: type(result[key]) for key in KEYS} == KEYS
    assert (result["attn"], result["backbone"], result["dataset"]) == ("eca", "resnet20", "digits")
    assert (result["seed"], result["epochs"], result["status"]) == (5, 1, "FINISHED")
    assert 0 <= result["test_top1"] <= result["test_top5"] <= 1
    assert result["params"] > result["baseline_params"] == 269_722
    assert result["train_ratio"] > 0
    assert "epoch   1/1" in done.err
    folder = Path(result["folder"])
    assert folder.name == result["digest"] == track.list_run_rows(RunStore(Path("runs")))[0]["digest"]
    assert json.loads((folder / "result.json").read_text()) == result


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four finished runs: eca and none with two seeds each."""
    folder = tmp_path_factory.mktemp("some") / "runs"
    for attn in ("eca", "none"):
        for seed in ("0", "1"):
            run(folder, "--attn", attn, "--seed", seed)
    return folder


def run(folder: Path, *words: str) -> Any:
    """The object that a tiny run prints."""
    return line("run", *TINY, "--runs", str(folder), *words, "--json").json()


def test_finished_run_is_not_run_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call gives the same object, says so on stderr and trains nothing; `-q` says nothing.

    A killed process may leave the run unfinished in MLflow, or a user may delete it there: then `sync` is named.
    """
    first = records.read_result(next(iter(run_folders(runs))))
    assert first is not None
    monkeypatch.setattr(attncli.run, "execute_run", None)
    words = ("run", *TINY, "--runs", str(runs), "--attn", first.attn, "--seed", str(first.seed))
    again = line(*words, "--json")
    assert again.json()["run_id"] == first.run_id
    assert first.folder in again.err
    assert "--fresh" in again.err
    assert len(again.err.splitlines()) == 1
    assert line(*words, "-q").err == ""
    for status, names_sync in (("RUNNING", True), ("FINISHED", False)):
        with closing(sqlite3.connect(runs / "mlflow.db")) as database, database as connection:
            connection.execute("UPDATE runs SET status = ?", [status])
        assert ("attncli sync" in line(*words).err) == names_sync


def test_a_model_that_cannot_be_logged_does_not_hide_the_result(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is printed first; then the error, and an exit code that is not 0."""

    def refuse(*_: Any) -> None:
        raise RunFailedError("cannot be exported", "leave it out")

    monkeypatch.setattr(run_command, "_log_model", refuse)
    first = records.read_result(next(iter(run_folders(runs))))
    assert first is not None
    words = ("--attn", first.attn, "--seed", str(first.seed), "--log-model", "--json", "-q")
    done = line("run", *TINY, "--runs", str(runs), *words)
    assert done.code == 1
    assert json.loads(done.out)["digest"] == first.digest
    assert "cannot be exported" in done.err


def test_fresh_runs_again(tmp_path: Path) -> None:
    """`--fresh` trains anew, to the same bits, and the newest run is the one that is listed."""
    folder = tmp_path / "runs"
    first = run(folder)
    (folder / first["digest"] / "result.json").write_text("{}")
    second = run(folder, "--fresh")
    assert second["test_loss"] == first["test_loss"]
    assert second["seconds"] != first["seconds"]
    assert listed(folder)[0]["run_id"] == second["run_id"]


def listed(folder: Path) -> Any:
    """The runs of the store."""
    return track.list_run_rows(RunStore(folder))


def test_compare(runs: Path) -> None:
    """Two seeds of two variants make two rows: means over both, the difference paired, the cost beside it."""
    rows = line("compare", "--runs", str(runs), "--no-plot", "--json").json()
    by_attn = {row["attn"]: row for row in rows}
    assert by_attn.keys() == {"eca", "none"}
    assert by_attn["eca"]["seeds"] == by_attn["none"]["seeds"] == [0, 1]
    tops = {(r["attn"], r["seed"]): r["test_top1"] for r in listed(runs)}
    eca, none = ([tops[attn, seed] for seed in (0, 1)] for attn in ("eca", "none"))
    assert by_attn["eca"]["top1"] == pytest.approx(sum(eca) / 2)
    assert by_attn["eca"]["diff"] == pytest.approx(sum(eca) / 2 - sum(none) / 2)


@pytest.mark.parametrize(("format_", "told"), [("table", "attention"), ("csv", "attn,"), ("markdown", "| ---")])
def test_formats_of_compare(runs: Path, format_: str, told: str) -> None:
    """Each format has both variants; nothing but the table is on stdout."""
    done = line("compare", "--runs", str(runs), "--format", format_, "--no-plot")
    assert (done.code, done.err) == (0, "")
    assert told in done.out
    assert "eca" in done.out


def test_plot_of_compare(runs: Path) -> None:
    """The picture lies beside the runs, and its place is told on stderr."""
    done = line("compare", "--runs", str(runs), "--json")
    assert len(done.json()) == 2
    assert done.err == f"plot: {runs / 'compare-digits-resnet20-params.png'}\n"
    assert (runs / "compare-digits-resnet20-params.png").read_bytes().startswith(b"\x89PNG")


def test_runs_are_listed(runs: Path) -> None:
    """`ls runs` shows each run with its state and its figure."""
    rows = line("ls", "runs", "--runs", str(runs), "--json").json()
    assert sorted((row["attn"], row["seed"]) for row in rows) == [("eca", 0), ("eca", 1), ("none", 0), ("none", 1)]
    assert {row["status"] for row in rows} == {"FINISHED"}
    assert all(0 <= row["test_top1"] <= 1 for row in rows)


def test_sync_has_nothing_to_do(runs: Path) -> None:
    """What was recorded live is whole: no point is missing and none is added."""
    done = line("sync", "--runs", str(runs), "--json").json()
    assert [(d["created"], d["points"], d["status"]) for d in done] == [(False, 0, "FINISHED")] * 4


def test_file_of_ones_own(tmp_path: Path) -> None:
    """A file of a dozen lines is trained, measured, tracked and shown like any mechanism of ours."""
    path = plugins.write(tmp_path / "mine.py")
    result = line("run", "--attn", path, "--set", "model.options.scale=0.5", *TINY, "--json").json()
    assert (result["attn"], result["category"], result["status"]) == ("mine", "own", "FINISHED")
    assert result["params"] - result["baseline_params"] == 3 * (16 + 32 + 64)  # a weight a channel, three blocks
    (row,) = listed(Path("runs"))
    assert (row["attn"], row["params"]["model.options.scale"]) == ("mine", "0.5")
    assert "scale = 1.0  (float)" in line("show", path).out
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    Path(path).rename(moved)
    again = line("check", "--attn", str(moved), "--set", "model.options.scale=0.5", *TINY, "--json").json()
    assert again["digest"] == result["digest"]  # its content counts, not its folder


def test_entry_point_of_another_package(tmp_path: Path) -> None:
    """A mechanism of an installed package is listed and measured by its name; a broken package hides no other."""
    site = tmp_path / "site"
    facts = site / "theirs-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    entries = "broken = lost.module\nold = raises.gate\nscript = ends.gate\ntheirs = theirs_file\n"
    (facts / "entry_points.txt").write_text(f"[attncli.attention]\n{entries}")
    for package, line_of_code in (("raises", "raise RuntimeError"), ("ends", "raise SystemExit(1)")):
        (site / package).mkdir()
        (site / package / "__init__.py").write_text(line_of_code)
    plugins.write(site / "theirs_file.py")
    code = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv[0] = 'attncli'\n"
    code += "from attncli.__main__ import main; main()"

    def there(*words: str) -> Any:
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        return Done(done.returncode, done.stdout, done.stderr).json()

    (found,) = (row for row in there("ls", "attention", "--json") if row["category"] == "own")
    assert found.items() >= {"name": "theirs", "category": "own", "site": "gate", "title": "Mine", "year": 2025}.items()
    (row,) = there("measure", "--attn", "theirs", "--backbone", "resnet20", "--no-speed", "--json")
    assert (row["attn"], row["params"] - row["baseline_params"]) == ("theirs", 336)


def test_sigterm_outside_training_is_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while it measures, a run is KILLED, not RUNNING; the next call goes on without training again."""

    count = attncli.run.stages.count_recipe_cost
    calls: list[Any] = []

    def terminated(*given: Any) -> Any:
        calls.append(given)
        if len(calls) > 1:  # after the training
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(300)  # the signal ends it
        return count(*given)

    with monkeypatch.context() as patch:
        patch.setattr(attncli.run.stages, "count_recipe_cost", terminated)
        done = line("run", *TINY)
    assert (done.code, done.out) == (130, "")
    assert done.err.endswith("\ninterrupted\n")
    assert [row["status"] for row in listed(Path("runs"))] == ["KILLED"]
    monkeypatch.setattr("attncli.train.loop.run_epoch", None)
    assert line("run", *TINY, "--json").json()["status"] == "FINISHED"
    assert [row["status"] for row in listed(Path("runs"))] == ["FINISHED"]


def test_result_is_there_before_the_speed_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the timing runs out of memory, the run is finished without a speed, and a warning says why."""
    seen = []

    def without_memory(*given: Any, **options: Any) -> None:
        seen.extend(json.loads(path.read_text()) for path in Path("runs").glob("*/result.json"))
        raise RunFailedError("out of memory while timing 16 images")

    monkeypatch.setattr("attncli.measure.throughput.measure_throughput", without_memory)
    done = line("run", *TINY, "--set", "measure.speed=true", "--json")
    (result,) = seen
    assert result["test_top1"] == done.json()["test_top1"]
    assert (done.json()["status"], done.json()["train_images_per_s"]) == ("FINISHED", None)
    assert "no speed: out of memory while timing 16 images" in done.err


def test_killed_before_its_end_was_told(tmp_path: Path) -> None:
    """A run killed between its result and its last word to MLflow is closed by the next call."""
    folder = tmp_path / "runs"
    first = run(folder)
    origin = folder / first["digest"] / "origin.json"
    origin.write_text(origin.read_text().replace('"FINISHED"', '"RUNNING"'))
    again = run(folder)
    assert (again["test_loss"], again["run_id"]) == (first["test_loss"], first["run_id"])
    assert '"FINISHED"' in origin.read_text()


STEP = 10  # of the 16 that an epoch has
STOPS = f"""
import os
steps = 0


def count() -> None:
    global steps
    steps += 1
    if steps == {STEP} and "STOPPED_BY" in os.environ:
        os.kill(os.getpid(), int(os.environ["STOPPED_BY"]))
"""
LONGER = ("--backbone", "resnet20", "--epochs", "3", "--set", "train.batch_size=16", "--set", "data.fraction=0.2",
          "--set", "model.stages=[1]", "--set", "model.blocks=[1]", "--set", "measure.speed=false")  # fmt: skip


def test_stopped_killed_and_resumed(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and kill -9, each in the middle of an epoch: the end is that of the undisturbed run, to the bit.

    There is one MLflow run, which tells of each end, and no point of it is doubled. The signals come from within,
    at a step, so that none is too late however quick or busy the machine is.
    """
    value = "(count() if self.training and len(x) > 2 else None, x * self.weight)[1]"
    command = ("run", "--attn", plugins.write(tmp_path / "mine.py", value, first=STOPS), *LONGER)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        done = process(*command, STOPPED_BY=str(int(number)))
        assert done.code == code, done.err
        if number != signal.SIGKILL:
            refused(done, f"stopped by {number.name} a", "epoch", "same command", code=130)
            assert [row["status"] for row in listed(Path("runs"))] == ["KILLED"]
    assert epochs_done() == 1
    resumed = line(*command, "--resume", "--json").json()
    whole = line(*command, "--runs", "undisturbed", "--json").json()
    same = ("test_top1", "test_top5", "test_loss", "val_top1", "best_val_top1")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}
    assert told(resumed["folder"]) == told(whole["folder"])
    trained = [r.train_seconds for r in records.read(Path(resumed["folder"])) if isinstance(r, records.Epoch)]
    assert resumed["seconds"] > sum(trained)  # that of the calls before counts too
    (row,) = listed(Path("runs"))
    assert (row["run_id"], row["status"]) == (resumed["run_id"], "FINISHED")
    points_are_single(row["run_id"], Path(resumed["folder"]))


def epochs_done() -> int:
    """Epochs that the checkpoint holds."""
    return sum(json.loads(path.read_text())["epoch"] for path in Path("runs").glob("*/checkpoint/state.json"))


def told(folder: str) -> list[dict[str, Any]]:
    """The records of a run without what is a time."""
    lines = [json.loads(text) for text in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in values.items() if "_per_s" not in k and "seconds" not in k} for values in lines]


def points_are_single(run_id: str, folder: Path) -> None:
    """Assert that MLflow holds each of the run's points once."""
    from mlflow import MlflowClient

    client = MlflowClient(RunStore(Path("runs")).resolve_address())
    for key, steps in Counter(p.key for p in collect_run_metrics(records.read(folder), 0)).items():
        found = [m.step for m in client.get_metric_history(run_id, key)]
        assert len(found) == len(set(found)) == steps, key


def test_changed_images_are_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two class folders are swapped: the finished run is not shown for the new images; swapped back it is."""
    root = folder(tmp_path / "x", each=2)
    words = ("run", "--dataset", "folder", "--data-root", str(root), "--json")
    recipe = recipes.read(None, ["data.name=folder", f"data.root={root}"])
    finished_result = finish(Path("runs"), recipe)
    trained: list[Recipe] = []

    def train_nothing(recipe: Recipe, run_store: RunStore, *args: Any, **options: Any) -> Any:
        trained.append(attncli.run.execute._pin_images(recipe, run_store.runs, RunProgress(quiet=False)))
        return finished_result

    monkeypatch.setattr("attncli.commands.run._train_run", train_nothing)
    assert line(*words).json()["digest"] == finished_result.digest
    assert trained == []
    swap_classes(root)
    done = line(*words)
    assert done.code == 0
    assert [r.compute_digest() for r in trained] != [finished_result.digest]
    assert all(digest in done.err for digest in (finished_result.digest, trained[0].compute_digest()))
    other = finish(Path("runs"), trained[0])
    assert line(*words).json()["digest"] == other.digest
    swap_classes(root)
    assert line(*words).json()["digest"] == finished_result.digest
    assert len(trained) == 1
