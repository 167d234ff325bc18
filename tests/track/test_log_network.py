"""A network that is added to a run in MLflow leaves the run as it was, whether or not it can be exported."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from attncli.errors import RunFailedError
from attncli.track import RunStore
from attncli.track.artifacts import log_network
from tests.track.recorded_runs import recipe, run


class Branching(nn.Module):
    """A network whose computation depends on values, which torch.export refuses."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x or its double."""
        return x if x.sum().item() > 0 else 2 * x


@pytest.mark.parametrize("net", [nn.Flatten(), Branching()])
def test_the_run_stays_finished_when_it_was(tracker, client, runs, net):
    """A network that cannot be exported is no fault of the store, whose address is right."""
    of = recipe(seed=100 + isinstance(net, Branching))
    run_id = run(tracker, runs, of)
    ended_ms = 1_600_000_000_000  # last year
    client.set_terminated(run_id, "FINISHED", end_time=ended_ms)
    example = np.ones((2, 1, 2, 2), np.float32)
    store = RunStore(runs, tracker.uri)
    if isinstance(net, Branching):
        with pytest.raises(RunFailedError, match="cannot be exported") as caught:
            log_network(net, of.compute_digest(), example=example, run_store=store)
        assert "tracking" not in caught.value.problem + caught.value.hint
    else:
        address = log_network(net, of.compute_digest(), example=example, run_store=store)
        assert address == f"runs:/{run_id}/network"
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", ended_ms)
    assert RunStore(Path("elsewhere")).resolve_address().endswith("elsewhere/mlflow.db")  # no variable is left behind
