"""Counters of batch norms in main memory: what moves them, and what leaves them there."""

import torch
from torch import nn

from attncli.train.norm_counters import find_host_counters, keep_norm_counters_on_host, move_network
from tests.device.simulated_device import simulated_device


def make_net() -> nn.Module:
    """Return a network with two norms, of which one counts its batches."""
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))


def test_counters_stay_on_the_host() -> None:
    """A step has no launch for them, and an evaluation, which moves the network, leaves them; other tensors move."""
    with simulated_device() as (mode, accelerator):
        net = move_network(make_net(), accelerator.device)
        assert find_host_counters(net) == []
        keep_norm_counters_on_host(net, False)
        (counter,) = find_host_counters(net)
        x = torch.ones(3, 2).to(accelerator.device)
        mode.ledger.clear()
        move_network(net, accelerator.device)(x)
        assert "add" not in mode.ledger.launches
        assert find_host_counters(net)[0] is counter
        assert {t.device.type for name, t in net.state_dict().items() if "num_batches" not in name} == {"cuda"}


def test_compiled_and_distributed_networks_keep_theirs_on_the_device() -> None:
    """The compiler makes one kernel of them, and processes exchange buffers by NCCL, which takes no host memory."""
    net = make_net().to("meta")
    for compiled, processes in ((True, 1), ("max-autotune", 1), (False, 2)):
        keep_norm_counters_on_host(net, compiled, processes)
        assert find_host_counters(net) == []
