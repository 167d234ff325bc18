"""Single steps of the optimiser, as training, profiling and timing share them."""

from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from attncli.train.training_step import TrainingStep, prepare_step, run_training_step
from tests.train.case import net, recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("keys", [{}, {"nesterov": False, "clip_norm": 1.0}, {"optimizer": "adamw"}])
def test_a_first_step_that_overflows_leaves_nothing_behind(keys: dict[str, object]) -> None:
    """With a loss scale it is skipped: the next one is the first, whatever was in memory before."""
    skipped, usual = (prepare_step(net(), recipe(**keys), (8, 8), CPU, "fp16") for _ in range(2))
    with mock.patch.object(torch, "empty_like", lambda t: torch.full_like(t, 7e30)):  # memory that nobody cleared
        do_step(skipped, torch.full((4, 3, 8, 8), torch.inf))
    usual.scaler.load_state_dict(skipped.scaler.state_dict())  # the scale is halved by the overflow
    for step in (skipped, usual):
        for module in step.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
        do_step(step, torch.linspace(-1, 1, 4 * 3 * 8 * 8).view(4, 3, 8, 8))
    pairs = zip(skipped.model.parameters(), usual.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def do_step(step: TrainingStep, images: Tensor) -> None:
    """Do one step with images (4, 3, 8, 8)."""
    run_training_step(step, images, torch.arange(4), learning_rate=0.1, seed=1, number=1)
