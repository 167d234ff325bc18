"""Facts of a run that is recorded: one a digest, whole, never doubled, never in the training's way, truly ended."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from attncli import records
from attncli.errors import UserError
from attncli.track import (
    RunStore,
    Tracker,
    active_run,
    attach_to_experiment,
    list_run_rows,
    metric_writer,
    mlflow_run,
    provenance,
    sync_runs,
)
from attncli.track.artifacts import attach_to_run, delete_runs
from attncli.track.provenance import read_provenance
from attncli.track.run_names import RUN_NAME_TAG
from tests.track.recorded_runs import FACTS, WHOLE, doubled, epoch, evaluation, folder, recipe, run


class Away:
    """A client of a store that does not answer while `away`; with `heard` the calls arrive, only the answers do not."""

    def __init__(self, client):
        self.client = client
        self.away = False
        self.heard = False
        self.waiting = threading.Event()

    def __getattr__(self, name):
        def call(*args, **kwargs):
            if self.away:
                self.waiting.set()
                if self.heard and name == "log_batch":
                    self.client.log_batch(*args, **kwargs)
                raise ConnectionError("nobody there")
            return getattr(self.client, name)(*args, **kwargs)

        return call


@pytest.fixture
def away(tracker, client, runs, monkeypatch):
    """(the client that can be away, a tracker that uses it), without waiting between attempts."""
    monkeypatch.setattr(metric_writer, "RETRY_S", 0.0)
    found = Away(client)
    return found, Tracker(found, RunStore(runs, tracker.uri))


def test_a_whole_run(tracker, client, runs):
    """Parameters, metrics, data, files, description and status are all there when `end` returns."""
    of = recipe(seed=1)
    found = client.get_run(run(tracker, runs, of))
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "eca-resnet18-s1"
    assert client.get_experiment(found.info.experiment_id).name == "digits-resnet18"
    assert found.data.params["train.lr"] == "0.1"
    assert found.data.metrics["test/top1"] == 0.75
    assert [m.step for m in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2]
    assert found.data.tags["digest"] == of.compute_digest()
    [data] = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", FACTS.digest[:32])
    assert {f.path for f in client.list_artifacts(found.info.run_id)} == {"recipe.yaml", "log.jsonl", "origin.json"}


def test_a_run_of_a_name_that_is_there(tracker, client, runs):
    """It gets the keys in which it differs from the earlier ones, as in a sweep; theirs stay, also after a restart."""
    values = {"model__options": {"k": 7}, "seed": 30}
    names = [client.get_run(run(tracker, runs, recipe(**values, **more))).info.run_name for more in (
        {}, {"train__lr": 0.3}, {"train__lr": 0.3, "data__pad": 2}, {"train__lr": 0.3}
    )]  # fmt: skip
    base = "eca[k=7]-resnet18-s30"
    assert names == [base, f"{base}[lr=0.3]", f"{base}[pad=2,lr=0.3]", f"{base}[lr=0.3]"]
    for epochs, sweep_name, name in ((3, base, f"{base}[epochs=3,lr=0.1]"), (4, f"{base}[epochs=4]", None)):
        of = recipe(**values, train__epochs=epochs)
        live = tracker.start_run(of, FACTS, folder=folder(runs, of), tags={RUN_NAME_TAG: sweep_name})
        assert client.get_run(live.run_id).info.run_name == (name or sweep_name)
        assert live.end_run("FINISHED") is None


def test_files_lie_beside_the_database(tracker, client, runs):
    """Artifacts go to runs/mlartifacts, with the pictures and the result of the run's folder."""
    of = recipe(seed=2)
    path = folder(runs, of)
    for name in ("curves.png", "result.json"):
        (path / name).write_text("x")
    (path / "checkpoint").mkdir()
    run_id = run(tracker, runs, of)
    assert (runs / "mlartifacts" / run_id / "artifacts" / "curves.png").read_text() == "x"
    assert "checkpoint" not in {f.path for f in client.list_artifacts(run_id)}


def test_one_run_a_digest(tracker, client, runs):
    """Going on with an interrupted run reopens its MLflow run and doubles no point."""
    of = recipe(seed=3)
    first = run(tracker, runs, of, flow=[epoch(1)], status="KILLED")
    started = client.get_run(first).info.start_time
    path = folder(runs, of)
    going_on = tracker.start_run(of, FACTS, folder=path)
    assert client.get_run(first).info.status == "RUNNING"
    going_on.log_record(replace(epoch(1), train_images_per_s=400.0))  # again, after an older checkpoint, less fast
    for record in (epoch(2), evaluation()):
        records.append_record(path, record)
        going_on.log_record(record)
    going_on.end_run("FINISHED")
    found = client.get_run(first)
    assert going_on.run_id == first
    assert (found.info.status, found.info.start_time) == ("FINISHED", started)
    assert [m.step for m in client.get_metric_history(first, "val/top1")] == [1, 2]
    assert doubled(client, first) == []
    assert len(found.inputs.dataset_inputs) == 1


def test_epochs_told_again_are_not_doubled(tracker, client, runs):
    """A resumed run whose log was emptied, and which tells its epochs again at other speeds, doubles no point."""
    of = recipe(seed=17)
    run_id = run(tracker, runs, of, flow=[epoch(1), epoch(2)], status="KILLED")
    path = folder(runs, of)
    records.replace_log(path, [])
    going_on = tracker.start_run(of, FACTS, folder=path)
    for record in (epoch(1), replace(epoch(2), train_seconds=5.0, train_images_per_s=200.0), epoch(3), evaluation()):
        records.append_record(path, record)
        going_on.log_record(record)
    assert going_on.end_run("FINISHED") is None
    assert doubled(client, run_id) == []
    assert [m.step for m in client.get_metric_history(run_id, "train/images_per_s")] == [1, 2, 3]
    assert client.get_run(run_id).data.metrics["test/top1"] == 0.75


def test_a_fresh_run_has_fresh_figures(tracker, client, runs):
    """Begun anew after the code changed, a digest's figures are the new ones; the earlier MLflow run is deleted."""
    of = recipe(seed=16)
    first = run(tracker, runs, of)
    path = folder(runs, of)
    records.replace_log(path, [])
    anew = tracker.start_run(of, FACTS, folder=path, fresh=True)
    for record in (epoch(1), evaluation(0.9)):
        records.append_record(path, record)
        anew.log_record(record)
    assert anew.end_run("FINISHED") is None
    assert client.get_run(first).info.lifecycle_stage == "deleted"
    [row] = list_run_rows(RunStore(runs), digest=of.compute_digest())
    assert (row["run_id"], row["test_top1"]) == (anew.run_id, 0.9)
    assert row["started_ms"] > client.get_run(first).info.start_time


def test_a_run_whose_folder_was_deleted_has_fresh_figures(tracker, client, runs):
    """Its points in the store are of the first training, perhaps of other code: none of them stays."""
    of = recipe(seed=18)
    first = run(tracker, runs, of)
    shutil.rmtree(folder(runs, of))
    second = run(tracker, runs, of, flow=[epoch(1), evaluation(0.9)])
    [row] = list_run_rows(RunStore(runs), digest=of.compute_digest())
    assert (row["run_id"], row["test_top1"]) == (second, 0.9)
    assert client.get_run(first).info.lifecycle_stage == "deleted"


def test_a_run_of_another_folder_stays_as_it_is(tmp_path):
    """Two people train one digest with one store: each has a run, which resumes, starts again and gets its files."""
    of, uri = recipe(seed=19), f"sqlite:///{tmp_path}/shared/mlflow.db"
    (tmp_path / "shared").mkdir()
    theirs, ours = (RunStore(tmp_path / name, uri) for name in ("a", "b"))
    their_id = run(Tracker.open(theirs), theirs.runs, of)
    tracker = Tracker.open(ours)
    first = run(tracker, ours.runs, of, flow=[epoch(1)], status="KILLED")
    assert run(tracker, ours.runs, of, flow=[epoch(2), evaluation(0.9)]) == first  # resumes
    records.replace_log(folder(ours.runs, of), [])
    anew = tracker.start_run(of, FACTS, folder=folder(ours.runs, of), fresh=True)
    anew.log_record(evaluation(0.6))
    anew.end_run("FINISHED")
    (tmp_path / "a.png").write_bytes(b"a")
    assert attach_to_run([tmp_path / "a.png"], of.compute_digest(), "look", run_store=ours) == anew.run_id
    assert {row["run_id"]: row["test_top1"] for row in list_run_rows(ours)} == {their_id: 0.75, anew.run_id: 0.6}
    assert delete_runs(of.compute_digest(), run_store=ours) == 1
    assert [row["run_id"] for row in list_run_rows(ours)] == [their_id]


@pytest.mark.parametrize("fresh", [False, True], ids=["resumed", "fresh"])
def test_a_run_that_began_in_a_store_of_its_own_has_its_own_in_a_shared_one(tmp_path, fresh):
    """It is found by its start, resumes or starts again, and leaves the run of another folder alone."""
    of, uri = recipe(seed=19), f"sqlite:///{tmp_path}/shared/mlflow.db"
    (tmp_path / "shared").mkdir()
    theirs, ours = (RunStore(tmp_path / name, uri) for name in ("a", "b"))
    their_id = run(Tracker.open(theirs), theirs.runs, of)
    run(Tracker.open(RunStore(ours.runs)), ours.runs, of, flow=[epoch(1)], status="KILLED")
    [synced] = sync_runs(ours)
    tracker = Tracker.open(ours)
    live = tracker.start_run(of, FACTS, folder=folder(ours.runs, of), fresh=fresh)
    live.log_record(evaluation(0.6))
    live.end_run("FINISHED")
    assert (live.run_id == synced.run_id) is not fresh  # the uploaded run of a fresh start is deleted
    assert {row["run_id"]: row["test_top1"] for row in list_run_rows(ours)} == {their_id: 0.75, live.run_id: 0.6}


def test_keys_that_are_no_identity_may_change(tracker, client, runs):
    """A resumed run may time itself differently; MLflow's parameters never change, so the first stay."""
    of = recipe(seed=4)
    run_id = run(tracker, runs, of)
    other = recipe(seed=4, measure__repeats=3)
    assert other.compute_digest() == of.compute_digest()
    tracker.start_run(other, FACTS, folder=folder(runs, of)).end_run("FINISHED")
    assert client.get_run(run_id).data.params["measure.repeats"] == str(of.measure.repeats) != "3"


def test_added_tags(tracker, client, runs):
    """Tags of the caller's are added: a sweep names the parent of its runs. The conditions are in origin.json too."""
    of = recipe(seed=5)
    tags = {"mlflow.parentRunId": "p" * 32, "precision": "bf16", "device": "cpu", "code": "aa/bb"}
    going_on = tracker.start_run(of, FACTS, folder=folder(runs, of), tags=tags)
    going_on.end_run("FINISHED")
    origin = read_provenance(folder(runs, of))
    assert origin is not None
    assert (origin.precision, origin.device, origin.code) == ("bf16", "cpu", "aa/bb")
    assert client.get_run(going_on.run_id).data.tags["mlflow.parentRunId"] == "p" * 32


def test_logging_never_waits(tracker, runs, away):
    """With a store that hangs until they are handed over, a hundred records are."""
    client, slow = away
    of = recipe(seed=6)
    path = folder(runs, of)
    going_on = slow.start_run(of, FACTS, folder=path)
    hold = threading.Event()
    client.log_batch = lambda *_, **__: hold.wait(600)
    began = time.monotonic()
    for number in range(1, 101):
        going_on.log_record(epoch(number))
    assert time.monotonic() - began < 300
    warning = going_on.end_run("FINISHED", timeout=0.2)
    assert "not done after 0 s" in warning
    assert "attncli sync" in warning
    hold.set()


@pytest.mark.parametrize("heard", [False, True])
def test_a_store_that_comes_back(tracker, client, runs, away, heard):
    """What was logged while the store was away is there in the end, once, heard the first time or not."""
    link, through = away
    of = recipe(seed=7 + heard)
    path = folder(runs, of)
    going_on = through.start_run(of, FACTS, folder=path)
    link.away, link.heard = True, heard
    for record in WHOLE:
        records.append_record(path, record)
        going_on.log_record(record)
    assert link.waiting.wait(300)
    link.away = False
    assert going_on.end_run("FINISHED") is None
    found = client.get_run(going_on.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["val/top1"] == 0.5
    assert doubled(client, going_on.run_id) == []


def test_a_store_that_stays_away(tracker, runs, away):
    """The training goes on to its end; one sentence then says what to do."""
    link, through = away
    of = recipe(seed=9)
    path = folder(runs, of)
    going_on = through.start_run(of, FACTS, folder=path)
    link.away = True
    for record in WHOLE:
        records.append_record(path, record)
        going_on.log_record(record)
    warning = going_on.end_run("FINISHED")
    assert "nobody there" in warning
    assert "attncli sync" in warning
    assert "\n" not in warning
    assert provenance.read_provenance(path).status == "FINISHED"


def test_refused_files_do_not_hide_the_status(tracker, client, runs, monkeypatch):
    """Where the artifacts can't be stored the run still says how it ended, and the user hears of it."""
    of = recipe(seed=10)
    going_on = tracker.start_run(of, FACTS, folder=folder(runs, of))

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(tracker._client, "log_artifact", refuse, raising=False)
    assert "disk full" in going_on.end_run("FAILED")
    assert client.get_run(going_on.run_id).info.status == "FAILED"


def test_a_full_disk_does_not_hide_the_error(tracker, client, runs, monkeypatch):
    """A run that ends for want of room tells that error, not one of noting it, and MLflow says FAILED."""
    of = recipe(seed=18)

    def full(*_):
        raise OSError(28, "No space left on device")

    def body():
        with tracker.start_run(of, FACTS, folder=folder(runs, of)) as going_on:
            ids.append(going_on.run_id)
            monkeypatch.setattr(provenance, "write_atomically", full)
            raise OSError(28, "the checkpoint's")

    ids = []
    with pytest.raises(OSError, match="the checkpoint's"):
        body()
    assert client.get_run(ids[0]).info.status == "FAILED"


def test_status_is_set_once(tracker, client, runs):
    """The first ending counts."""
    of = recipe(seed=11)
    going_on = tracker.start_run(of, FACTS, folder=folder(runs, of))
    going_on.end_run("KILLED")
    going_on.end_run("FINISHED")
    assert client.get_run(going_on.run_id).info.status == "KILLED"


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_an_ending_nobody_told(tracker, client, runs, error, status):
    """Leaving the block tells the truth: FINISHED, FAILED on an error, KILLED on Ctrl-C."""
    of = recipe("se", seed=["FINISHED", "FAILED", "KILLED"].index(status))

    def body():
        with tracker.start_run(of, FACTS, folder=folder(runs, of)) as going_on:
            ids.append(going_on.run_id)
            if error:
                raise error

    ids = []
    if error:
        with pytest.raises(type(error)):
            body()
    else:
        body()
    assert client.get_run(ids[0]).info.status == status


def test_system_metrics_of_a_short_run(tracker, client, runs, monkeypatch):
    """A run of a few seconds has samples of the machine, at steps that go on when it is resumed."""
    monkeypatch.setattr("attncli.track.system_metrics.FAST_S", 0.01)
    of = recipe(seed=12)
    going_on = tracker.start_run(of, FACTS, folder=folder(runs, of))
    until, found = time.monotonic() + 300, {}
    while "system/system_memory_usage_megabytes" not in found and time.monotonic() < until:
        time.sleep(0.05)
        found = client.get_run(going_on.run_id).data.metrics
    going_on.end_run("FINISHED")
    assert found["system/system_memory_usage_megabytes"] > 0
    assert "system/cpu_utilization_percentage" in found


def test_refusals_at_the_start_are_one_line(tracker, runs, away):
    """A store that stops answering before the run is there is a UserError."""
    link, through = away
    link.away = True
    with pytest.raises(UserError, match="nobody there"):
        through.start_run(recipe(seed=13), FACTS, folder=folder(runs, recipe(seed=13)))


def test_a_folder_that_cannot_be_written(tracker, tmp_path):
    """A file where the run's folder should be is a UserError with its path."""
    (tmp_path / "abc").write_text("")
    with pytest.raises(UserError, match="abc"):
        tracker.start_run(recipe(), FACTS, folder=tmp_path / "abc")


KILLED = """
import os, signal, sys
from pathlib import Path
from attncli.track import RunStore, Tracker
from tests.track.recorded_runs import FACTS, epoch, folder, recipe
runs = Path(sys.argv[1])
of = recipe(seed=14)
live = Tracker.open(RunStore(runs)).start_run(of, FACTS, folder=folder(runs, of))
print(live.run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_run_running(tracker, client, runs):
    """After kill -9 the next opening of the store closes the run as KILLED; one that lives stays RUNNING."""
    of = recipe(seed=15)
    alive = tracker.start_run(of, FACTS, folder=folder(runs, of))
    done = subprocess.run([sys.executable, "-c", KILLED, str(runs)], capture_output=True, text=True)
    run_id = done.stdout.strip()
    assert done.returncode == -9
    assert client.get_run(run_id).info.status == "RUNNING"
    Tracker.open(RunStore(runs))
    found = client.get_run(run_id).info
    assert found.status == "KILLED"
    assert found.end_time >= found.start_time
    assert client.get_run(alive.run_id).info.status == "RUNNING"
    alive.end_run("FINISHED")


def test_a_run_killed_while_it_is_described_is_closed(tracker, client, runs, monkeypatch):
    """The run says from its first moment whose process it is: nothing that is killed stays RUNNING."""

    def killed(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_run, "_log_run_data", killed)
    monkeypatch.setattr(
        provenance,
        "identify_process",
        lambda: provenance.ProcessIdentity(host=socket.gethostname(), pid=2**22 - 3, started=1.0),
    )
    of = recipe(seed=21)
    with pytest.raises(KeyboardInterrupt):
        tracker.start_run(of, FACTS, folder=folder(runs, of))
    assert [row["status"] for row in list_run_rows(RunStore(runs, tracker.uri), digest=of.compute_digest())] == [
        "RUNNING"
    ]
    Tracker.open(RunStore(runs, tracker.uri))
    assert [row["status"] for row in list_run_rows(RunStore(runs, tracker.uri), digest=of.compute_digest())] == [
        "KILLED"
    ]


def test_a_signal_waits_until_the_run_is_closed(tracker, client, runs, monkeypatch):
    """A launcher that terminates a run which is just ending does not leave it RUNNING."""

    def finish(*anything):
        os.kill(os.getpid(), signal.SIGINT)
        live_finish(*anything)

    live_finish = active_run.upload_and_close
    monkeypatch.setattr(active_run, "upload_and_close", finish)
    of = recipe(seed=22)
    begun = tracker.start_run(of, FACTS, folder=folder(runs, of))
    with pytest.raises(KeyboardInterrupt):
        pytest.fail(f"not interrupted; the run ended with: {begun.end_run('FAILED')}")
    assert client.get_run(begun.run_id).info.status == "FAILED"


def test_rows(tracker, runs):
    """Runs come back as plain dicts, newest first, filtered by tags and status."""
    for seed, attn in enumerate(("none", "cbam")):
        run(tracker, runs, recipe(attn, seed=20 + seed, experiment="rows"))
    found = list_run_rows(RunStore(runs), attn="cbam", dataset="digits", status=None)
    assert [(r["attn"], r["seed"], r["status"], r["experiment"]) for r in found] == [("cbam", 21, "FINISHED", "rows")]
    assert found[0]["metrics"]["test/top1"] == 0.75
    assert found[0]["params"]["model.backbone"] == "resnet18"
    assert {r["attn"] for r in list_run_rows(RunStore(runs))} >= {"none", "cbam", "eca"}
    assert list_run_rows(RunStore(runs), dataset="it's not there") == []
    assert [r["seed"] for r in list_run_rows(RunStore(runs), status="FINISHED", attn="none")] == [20]


@pytest.mark.parametrize("name", ["Ann's", 'the "small" ones', 'Ann\'s "small" ones'])
def test_rows_are_found_by_a_text_with_quotation_marks(tracker, client, runs, name):
    """Also one with both kinds, which no condition of MLflow can hold."""
    of = recipe(seed=30, experiment="quotes")
    begun = tracker.start_run(of, FACTS, folder=folder(runs, of))
    begun.end_run("FINISHED")
    client.set_tag(begun.run_id, "label", name)
    assert [row["run_id"] for row in list_run_rows(RunStore(runs, tracker.uri), label=name)] == [begun.run_id]
    assert list_run_rows(RunStore(runs, tracker.uri), label=f"{name}!") == []


def test_rows_come_page_after_page(tracker, runs, monkeypatch):
    """More runs than a page holds are all found, each once."""
    whole = [r["run_id"] for r in list_run_rows(RunStore(runs))]
    monkeypatch.setattr("attncli.track.search.PAGE_SIZE", 2)
    assert [r["run_id"] for r in list_run_rows(RunStore(runs))] == whole
    assert len(whole) > 4


def test_no_store_no_rows(tmp_path):
    """Asking a store that is not there gives no runs and makes none."""
    assert list_run_rows(RunStore(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_completeness_counts_points_and_status(runs):
    """The mark of a whole run changes with every record and with the status."""
    path = folder(runs, recipe(seed=30))
    begun = provenance.begin_provenance(path, recipe(seed=30), FACTS, {})
    before = active_run.summarize_completeness(path, begun)
    records.append_record(path, epoch(1))
    assert before == "RUNNING, 0 points"
    assert active_run.summarize_completeness(path, begun) == "RUNNING, 8 points"


def test_a_picture_of_many_runs(tracker, client, runs, tmp_path):
    """The plot of a comparison lies in a run of its own, one an experiment, which is no row of any comparison."""
    before = len(list_run_rows(RunStore(runs)))
    picture = tmp_path / "pareto.png"
    for content in ("one", "two"):
        picture.write_text(content)
        run_id = attach_to_experiment([picture], experiment="digits-resnet18", run_store=RunStore(runs))
    number = client.get_run(run_id).info.experiment_id
    assert len(client.search_runs([number], "tags.kind = 'comparison'")) == 1
    assert (runs / "mlartifacts" / run_id / "artifacts" / "pareto.png").read_text() == "two"
    assert len(list_run_rows(RunStore(runs))) == before
