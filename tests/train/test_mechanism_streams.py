"""Draws of a mechanism do not shift those of the network around it."""

import pytest
import torch
from torch import nn

from attncli.attention.branch.condconv import Attention as CondConv
from attncli.attention.self_attention.bat import Attention as Bat
from attncli.backbones.surgery import mark_mechanism
from attncli.train.distributed import seed_everything
from attncli.train.mechanism_streams import draws_in_training, separate_mechanism_draws

CPU = torch.device("cpu")


class Noise(nn.Module):
    """A mechanism that draws and says so: it keeps its numbers."""

    draws = True

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x; draw a number."""
        self.numbers.append(torch.rand(()).item())
        return x


def make_network(mechanism: nn.Module) -> nn.Sequential:
    """A host with a mechanism, dropout behind it, and a second mechanism."""
    hosts = [nn.Sequential(), nn.Sequential()]
    for host in hosts:
        host.add_module("attn", mechanism if host is hosts[0] else Noise())
        mark_mechanism(host.attn, "noise")
    return nn.Sequential(hosts[0], nn.Dropout(0.5), hosts[1])


def forward(net: nn.Module, seed: int) -> torch.Tensor:
    """The output of a step of this seed for ones."""
    seed_everything(seed, CPU)
    y: torch.Tensor = net(torch.ones(64))
    return y


def test_the_network_drops_as_without_the_mechanism() -> None:
    """The dropout of a seed is the plain network's, whether the mechanism before it draws or not."""
    net, plain = make_network(Noise()), make_network(nn.Identity())
    shifted = forward(net, 5)
    for _ in range(2):  # a network that is trained on is prepared again
        separate_mechanism_draws(net, CPU)
    assert torch.equal(forward(net, 5), forward(plain, 5))
    assert not torch.equal(shifted, forward(plain, 5))


def test_streams_differ_by_place_and_step_and_are_repeated_by_the_seed() -> None:
    """Two places and two calls of a step have other numbers; the same seed gives them again."""
    first = Noise()
    net = make_network(first)
    second = net[2].attn
    assert isinstance(second, Noise)
    separate_mechanism_draws(net, CPU)
    for seed in (5, 6, 5):
        forward(net, seed)
        net(torch.ones(64))  # a second part of the batch in the same step
    a, b, other, _, again, b_again = first.numbers
    assert (a, b) == (again, b_again)
    assert len({a, b, other, *second.numbers[:2]}) == 5


def test_nothing_changes_where_only_one_of_them_draws() -> None:
    """Without dropout in the network there is nothing to shift: no hook is set."""
    net = make_network(Noise())[:1]
    separate_mechanism_draws(net, CPU)
    assert not net[0].attn._forward_hooks


class Decoder(nn.Module):
    """A user's module, which means something else by the name."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("draws", torch.zeros(3))


@pytest.mark.parametrize(("module", "draws"), [
    (nn.Dropout(0.2), True), (nn.Dropout(0.0), False), (nn.Linear(2, 2), False),
    (Decoder(), False), (CondConv(4, 4, routing_dropout=0.2), True), (Bat(32, (8, 8)).dropout, True),
])  # fmt: skip
def test_who_draws(module: nn.Module, draws: bool) -> None:
    """Dropout of a share above 0, and modules that say so."""
    assert draws_in_training(module) is draws
