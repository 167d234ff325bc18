"""One MLflow store for each file of tests: making one takes a second and a half."""

import pytest

from attncli.track import RunStore, Tracker


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, with a space in its name."""
    return tmp_path_factory.mktemp("my runs")


@pytest.fixture(scope="module")
def tracker(runs):
    """The store in that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracker.open(RunStore(runs))


@pytest.fixture(scope="module")
def client(tracker):
    """MLflow's own client, to see what the store holds."""
    from mlflow import MlflowClient

    return MlflowClient(tracker.uri)
