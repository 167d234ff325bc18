"""Sweeps in MLflow: parents that nest their runs, whoever made those."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from attncli import track
from attncli.errors import UserError
from attncli.track import RunStore, Tracker, mlflow_run
from attncli.track.parent_runs import PARENT_TAG
from tests.track import recorded_runs


def test_runs_made_before_are_nested_too(runs: Path, tracker: Tracker, client) -> None:
    """A run of the sweep that `attncli run` did gets the parent; one of another sweep keeps its own; others none."""
    mine, other, stranger = (recorded_runs.recipe(attn=a, seed=3) for a in ("se", "srm", "gct"))
    ids = {r.model.attn: recorded_runs.run(tracker, runs, r) for r in (mine, other, stranger)}
    client.set_tag(ids["srm"], PARENT_TAG, "elsewhere")
    parents = track.begin_parent_runs("s", [mine, other], RunStore(runs))
    ((experiment, tags),) = parents.items()
    assert experiment == "digits-resnet18"
    assert client.get_run(tags[PARENT_TAG]).info.status == "RUNNING"
    track.end_parent_runs(parents, [mine.compute_digest(), other.compute_digest()], "FINISHED", RunStore(runs))
    got = {attn: client.get_run(run_id).data.tags.get(PARENT_TAG) for attn, run_id in ids.items()}
    assert got == {"se": tags[PARENT_TAG], "srm": "elsewhere", "gct": None}
    assert client.get_run(tags[PARENT_TAG]).info.status == "FINISHED"


def test_parents_are_no_runs(runs: Path, tracker: Tracker) -> None:
    """Lists and comparisons do not meet them."""
    before = len(track.list_run_rows(RunStore(runs)))
    track.begin_parent_runs("t", [recorded_runs.recipe()], RunStore(runs))
    assert len(track.list_run_rows(RunStore(runs))) == before


@pytest.mark.parametrize("name", ["bob's", 'a "deep" one', """bob's "deep" one"""])
def test_a_name_with_a_quote(runs: Path, tracker: Tracker, name: str) -> None:
    """A file may be called so, and is found again; another name is another sweep."""
    first = track.begin_parent_runs(name, [recorded_runs.recipe()], RunStore(runs))
    assert track.begin_parent_runs(name, [recorded_runs.recipe()], RunStore(runs)) == first
    assert track.begin_parent_runs(f"{name}!", [recorded_runs.recipe()], RunStore(runs)) != first


def test_a_store_that_is_away_is_told_before_and_passed_over_after(tmp_path: Path) -> None:
    """Nothing is begun without it; what was done does not fail for it."""
    uri = "http://127.0.0.1:9"
    with pytest.raises(UserError, match="does not answer"):
        track.begin_parent_runs("s", [recorded_runs.recipe()], RunStore(tmp_path, uri))
    track.end_parent_runs({"e": {PARENT_TAG: "x"}}, [], "FINISHED", RunStore(tmp_path, uri))


def test_images_entered_by_two_runs_at_once() -> None:
    """The one that comes second finds them there; a store that refuses for good is heard."""
    calls = []

    def log_inputs(run_id: str, inputs: list[object]) -> None:
        calls.append(run_id)
        if len(calls) != 2:
            raise RuntimeError("UNIQUE constraint failed: datasets")

    client = SimpleNamespace(log_inputs=log_inputs)
    mlflow_run._log_dataset(client, "r", recorded_runs.FACTS)
    assert calls == ["r", "r"]
    with pytest.raises(RuntimeError):
        mlflow_run._log_dataset(client, "r", recorded_runs.FACTS)
