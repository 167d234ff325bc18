"""Every test of a mechanism draws the same numbers each time: a gate that a ReLU closes by chance is no failure."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Seed torch's own generator."""
    torch.manual_seed(0)
