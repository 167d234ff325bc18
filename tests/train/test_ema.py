"""The average of the weights."""

import pytest
import torch
from torch import nn

from attncli import attention
from attncli.train.ema import Ema
from tests.train.case import net, same


def test_by_hand():
    """The first steps weigh 2/11, 3/12, ... until the decay is reached."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    ema = Ema(model, 0.2)
    model.weight.data.fill_(11.0)
    ema.update_average(1)  # d = 2 / 11
    torch.testing.assert_close(ema.averaged_weights["weight"], torch.tensor([[9.0]]))
    model.weight.data.fill_(19.0)
    ema.update_average(2)  # d = min(0.2, 3 / 12)
    torch.testing.assert_close(ema.averaged_weights["weight"], torch.tensor([[17.0]]))


def test_takes_in_running_statistics():
    """Buffers in floating point are averaged too, counters are not."""
    ema = Ema(net(), 0.9)
    assert {"norm.running_mean", "norm.running_var"} <= ema.averaged_weights.keys()
    assert "norm.num_batches_tracked" not in ema.averaged_weights


def test_takes_in_complex_weights():
    """Each part of the number is averaged; counters are still left out."""
    model = net()
    model.spectrum = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    ema = Ema(model, 0.5)
    model.spectrum.data.fill_(4 + 8j)
    ema.update_average(1)  # d = 2 / 11
    torch.testing.assert_close(ema.averaged_weights["spectrum"], torch.full((2,), (4 + 8j) * 9 / 11))
    with ema.applied_average():
        assert model.spectrum[0].item() == pytest.approx((4 + 8j) * 9 / 11, rel=1e-6)
    assert "norm.num_batches_tracked" not in ema.averaged_weights


def test_leaves_out_what_a_schedule_sets():
    """Dynamic convolution is evaluated at the temperature of its epoch, not at an average of temperatures."""
    module = attention.load("dyconv").Attention(channels=4, channels_in=4)
    ema = Ema(module, 0.9)
    assert "temperature" not in ema.averaged_weights
    module.anneal(3)
    ema.update_average(1)
    with ema.applied_average():
        assert module.temperature.item() == pytest.approx(30 + (1 - 30) * 3 / 10)


def test_applied_and_back():
    """Within the block the network has the average, after it its own weights again, to the bit."""
    model, before = net().to(memory_format=torch.channels_last), net()
    ema = Ema(model, 0.9)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    after = net()
    after.load_state_dict(model.state_dict())
    with ema.applied_average():
        assert same(model, before)
    assert same(model, after)
    with ema.applied_average():
        assert same(model, before)


def test_tied_weights_come_back():
    """A weight that two layers share is the average within the block and itself after it, any number of times."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(1, 1, bias=False)
            self.second = self.first

    model = Tied()
    model.first.weight.data.fill_(1.0)
    ema = Ema(model, 0.9)
    model.first.weight.data.fill_(3.0)
    for _ in range(3):
        with ema.applied_average():
            assert model.second.weight.item() == 1.0
        assert model.first.weight.item() == 3.0
