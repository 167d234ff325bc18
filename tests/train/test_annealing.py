"""Whether the schedule of a mechanism is over when a training ends."""

import pytest
from torch import nn

from attncli.attention.branch.dyconv import Attention
from attncli.train import is_annealing_at_end


@pytest.mark.parametrize(("epochs", "expected"), [(1, True), (2, True), (10, True), (11, False), (90, False)])
def test_a_short_training_ends_within_the_schedule(epochs: int, expected: bool) -> None:
    """The temperature of dyconv falls over 10 epochs and is 1 from the eleventh on; the network stays as it is."""
    module = Attention(4, 4)
    net = nn.Sequential(nn.Conv2d(4, 4, 1), module)
    assert is_annealing_at_end(net, epochs) is expected
    assert float(module.temperature) == 30.0


def test_networks_without_a_schedule() -> None:
    """Nothing to wait for; nor with a schedule of no epochs."""
    assert not is_annealing_at_end(nn.Conv2d(1, 1, 1), 1)
    assert not is_annealing_at_end(Attention(4, 4, tau_anneal_epochs=0), 1)
