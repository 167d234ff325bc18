"""Facts of sync: what the store lacks comes in, what it has stays, nothing is doubled, one bad folder stops nothing."""

import os
import socket
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from attncli import records
from attncli.track import RunStore, Tracker, provenance, sync_runs
from attncli.track.artifacts import attach_to_run, delete_runs
from attncli.track.provenance import ProcessIdentity
from tests.track.recorded_runs import FACTS, WHOLE, doubled, epoch, evaluation, folder, recipe, run


def on_disk(runs, of, flow=WHOLE, status="FINISHED", started_ms=1_600_000_000_000, run_id=None):
    """The folder of a run that no store has heard of."""
    path = folder(runs, of)
    begun = provenance.begin_provenance(path, of, FACTS, {"cpu": "x"})
    for record in flow:
        records.append_record(path, record)
    provenance.end_provenance(path, replace(begun, started_ms=started_ms, run_id=run_id), status)
    return path


@pytest.fixture
def one():
    """Finds what was done for one recipe's run among all that the tests of this file left."""

    def entry(done, of):
        return next(s for s in done if s.digest == of.compute_digest())

    return entry


def test_a_run_nobody_recorded(tracker, client, runs, one):
    """The run appears as if recorded live: start, points, files, data and status; a second call changes nothing."""
    of = recipe(seed=1)
    on_disk(runs, of, status="FAILED")
    first = one(sync_runs(RunStore(runs)), of)
    assert (first.created, first.status, first.problem) == (True, "FAILED", "")
    found = client.get_run(first.run_id)
    assert found.info.status == "FAILED"
    assert found.info.start_time == 1_600_000_000_000
    assert found.info.end_time >= found.info.start_time
    assert found.data.metrics["test/top1"] == 0.75
    assert found.data.tags["host"] == provenance.identify_process().host
    assert [d.dataset.name for d in found.inputs.dataset_inputs] == ["digits"]
    again = one(sync_runs(RunStore(runs)), of)
    assert (again.run_id, again.created, again.points) == (first.run_id, False, 0)
    assert doubled(client, first.run_id) == []


def test_missing_points_are_added(tracker, client, runs, one):
    """A run whose end the store missed gets the rest, and its true status."""
    of = recipe(seed=2)
    run_id = run(tracker, runs, of, flow=[epoch(1)], status="KILLED")
    path = folder(runs, of)
    records.append_record(path, epoch(2))
    provenance.end_provenance(path, provenance.read_provenance(path), "FINISHED")
    done = one(sync_runs(RunStore(runs)), of)
    assert (done.run_id, done.created, done.points) == (run_id, False, 8)
    assert [m.step for m in client.get_metric_history(run_id, "train/loss")] == [1, 2]
    assert doubled(client, run_id) == []
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_run_that_goes_on_is_left_alone(tracker, client, runs, one):
    """A run of a living process is its own process's to record."""
    of = recipe(seed=3)
    going_on = tracker.start_run(of, FACTS, folder=folder(runs, of))
    assert one(sync_runs(RunStore(runs)), of).status == "RUNNING"
    assert client.get_run(going_on.run_id).info.status == "RUNNING"
    going_on.end_run("FINISHED")


def test_folders_without_origin(tracker, client, runs, one):
    """The recipe, the log and the result are enough; without a result the run counts as KILLED."""
    for seed, status in ((4, "FINISHED"), (5, "KILLED")):
        of = recipe(seed=seed)
        path = folder(runs, of)
        records.append_record(path, epoch(1))
        if status == "FINISHED":
            (path / "result.json").write_text('{"status": "FINISHED"}')
        done = one(sync_runs(RunStore(runs)), of)
        assert done.status == status
        assert client.get_run(done.run_id).info.status == status


def test_a_bad_folder_stops_nothing(tracker, runs, one):
    """A recipe that can't be read is told in its entry; the other runs come in."""
    (runs / "broken").mkdir()
    (runs / "broken" / "recipe.yaml").write_text("train: {lr: much}\n")
    of = recipe(seed=6)
    on_disk(runs, of)
    seen = []
    done = sync_runs(RunStore(runs), progress=lambda i, n: seen.append((i, n)))
    assert one(done, of).problem == ""
    assert "train.lr" in next(s for s in done if s.digest == "broken").problem
    assert seen[-1] == (len(done), len(done))


def test_a_store_that_was_deleted(tmp_path, monkeypatch):
    """With mlflow.db gone, every run comes back from its folder."""
    tracker = Tracker.open(RunStore(tmp_path))
    of = recipe(seed=7)
    gone = run(tracker, tmp_path, of)
    for path in tmp_path.glob("mlflow.db*"):
        path.unlink()
    uri = f"sqlite:///{tmp_path}/other.db"  # MLflow keeps a deleted file open in this process; a new name is a new file
    [done] = sync_runs(RunStore(tmp_path, uri))
    assert done.created
    assert done.run_id != gone
    assert done.points == len({(k, s) for k, s in _points(tmp_path, of)})


def _points(runs, of):
    from attncli.track.metrics import collect_run_metrics

    return [(p.key, p.step) for p in collect_run_metrics(records.read(runs / of.compute_digest()), 0)]


def test_a_status_that_is_wrong_is_put_right(tracker, client, runs, one):
    """A store that went away between the last file and the status, or a process that died in MLflow, leaves it so."""
    of = recipe(seed=8)
    run_id = run(tracker, runs, of)
    ended_ms = provenance.read_provenance(folder(runs, of)).ended_ms
    client.set_terminated(run_id, "FAILED")
    assert one(sync_runs(RunStore(runs)), of).status == "FINISHED"
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended_ms)


@pytest.mark.parametrize(("seed", "has_origin"), [(9, True), (10, False)])
def test_a_run_that_was_killed_ended_with_its_last_write(tracker, client, runs, one, seed, has_origin):
    """Not when it is brought into the store."""
    of = recipe(seed=seed)
    path = on_disk(runs, of, status="RUNNING")
    if has_origin:
        dead = ProcessIdentity(host=socket.gethostname(), pid=1, started=0.0)
        running = replace(provenance.read_provenance(path), status="RUNNING", ended_ms=None, process=dead)
        provenance.write_provenance(path, running)
    else:
        (path / "origin.json").unlink()
    for file in path.iterdir():
        os.utime(file, (1_600_000_100, 1_600_000_100))
    done = one(sync_runs(RunStore(runs)), of)
    info = client.get_run(done.run_id).info
    assert (info.status, info.end_time) == ("KILLED", 1_600_000_100_000)


def test_a_run_of_another_folder_is_left_alone(tmp_path):
    """Two folders with one store have a run of the digest each; sync brings each one's points to its own."""
    of, uri = recipe(seed=11), f"sqlite:///{tmp_path}/shared/mlflow.db"
    (tmp_path / "shared").mkdir()
    stores = [RunStore(tmp_path / name, uri) for name in ("a", "b")]
    ids = [run(Tracker.open(store), store.runs, of, [epoch(1), evaluation(0.5)]) for store in stores]
    assert ids[0] != ids[1]
    client = MlflowClient(stores[0].resolve_address())
    for store, run_id, top1 in zip(stores, ids, (0.25, 0.75), strict=True):
        records.append_record(folder(store.runs, of), replace(epoch(2), val_top1=top1))
        [done] = sync_runs(store)
        assert (done.run_id, done.points) == (run_id, 8)
        assert client.get_run(run_id).data.metrics["val/top1"] == top1


@pytest.mark.parametrize("run_id", [None, "f" * 32], ids=["without a store", "with a store of its own"])
def test_two_folders_that_trained_elsewhere_share_a_store_later(tmp_path, run_id):
    """A run of the same recipe is that of a folder only if it began at the same time, in `sync` and in `rm`."""
    of, uri = recipe(seed=12), f"sqlite:///{tmp_path}/shared/mlflow.db"
    (tmp_path / "shared").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    theirs, ours = (RunStore(tmp_path / name, uri) for name in ("a", "b"))
    for store, started_ms in ((theirs, 1_600_000_000_000), (ours, 1_600_000_000_001)):
        on_disk(store.runs, of, started_ms=started_ms, run_id=run_id)
    first = [sync_runs(store)[0] for store in (theirs, ours)]
    assert [outcome.created for outcome in first] == [True, True]
    again = [sync_runs(store)[0] for store in (theirs, ours)]
    assert [(outcome.run_id, outcome.created) for outcome in again] == [(outcome.run_id, False) for outcome in first]
    client = MlflowClient(ours.resolve_address())
    assert [client.get_run(outcome.run_id).info.start_time % 10 for outcome in first] == [0, 1]
    digest = of.compute_digest()
    assert attach_to_run([tmp_path / "a.png"], digest, "look", run_store=ours) == first[1].run_id
    assert delete_runs(digest, run_store=ours) == 1
    stages = [client.get_run(outcome.run_id).info.lifecycle_stage for outcome in first]
    assert stages == ["active", "deleted"]
    (folder(theirs.runs, of) / provenance.ORIGIN_FILE).unlink()
    assert delete_runs(digest, run_store=theirs) == 0  # nothing says that the run is of this folder
