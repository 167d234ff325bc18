"""Batch norms count their batches in main memory, so that a step on a GPU has no kernel for each of these numbers.

`torch.nn.BatchNorm2d` adds 1 to its buffer `num_batches_tracked` in every training step, and reads it only if its
momentum is None. On a GPU each addition is a kernel of its own: one in twelve of a resnet20's launches.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

COUNTER = "num_batches_tracked"


def keep_norm_counters_on_host(net: nn.Module, compiled: bool | str, processes: int = 1) -> None:
    """Move the counters of a network's batch norms to main memory; their values and names stay.

    Nothing is moved if torch.compile has the network, which makes one kernel of such sums, or if several processes
    exchange its buffers on their devices.
    """
    if compiled or processes > 1:
        return
    for norm, counter in _list_counting_norms(net):
        norm.num_batches_tracked = counter.cpu()


def find_host_counters(net: nn.Module) -> list[Tensor]:
    """Return the counters of a network's batch norms that are in main memory, each a number ()."""
    return [counter for _, counter in _list_counting_norms(net) if counter.device.type == "cpu"]


def move_network(net: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, unless all but its counters are there; return it."""
    tensors = chain(net.named_parameters(), net.named_buffers())
    if any(tensor.device != device for name, tensor in tensors if name.rpartition(".")[2] != COUNTER):
        net.to(device)
    return net


def read_counters(counters: Sequence[Tensor]) -> list[int]:
    """Return the values of counters in main memory."""
    return [int(counter) for counter in counters]


def _list_counting_norms(net: nn.Module) -> list[tuple[_NormBase, Tensor]]:
    """Return the norms of a network that count their batches, with their counters."""
    norms = [module for module in net.modules() if isinstance(module, _NormBase)]
    return [(norm, counter) for norm in norms if isinstance(counter := norm.num_batches_tracked, Tensor)]
