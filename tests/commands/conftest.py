"""Every test in an empty folder of its own, free of settings from outside."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch) -> Iterator[None]:
    for name in ("MLFLOW_TRACKING_URI", "ATTNCLI_RUNS", "ATTNCLI_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
