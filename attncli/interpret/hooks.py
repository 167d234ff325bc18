"""Record what attention does while a network runs: one hook for every mechanism.

A mechanism, or a module within it, that has a method `observe` (see `attncli.attention.observation`) reports it. Any
other counts as a gate, y = s x, whose s follows from its input and output. The same holds for user-defined
mechanisms.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from attncli import model
from attncli.attention.observation import Observation, get_observe_method
from attncli.interpret import gate_estimation

SiteObservations = dict[str, list[Observation]]


@contextmanager
def recorded_observations(net: nn.Module) -> Iterator[SiteObservations]:
    """Yield what is observed at each site, by path, of the last batch that runs through `net` inside the block."""
    observations: SiteObservations = {}
    handles = []
    for path, module in list_observed_modules(net):
        hook = _ObservationHook(format_site(path), observations)
        handles += [
            module.register_forward_pre_hook(hook.save_random_state),
            module.register_forward_hook(hook.record_output),
        ]
    try:
        yield observations
    finally:
        for handle in handles:
            handle.remove()


def list_observed_modules(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return (path, module) to look at: the modules of each mechanism with `observe`, or itself if none has it."""
    chosen = []
    for path, mechanism in model.find_mechanisms(net).items():
        observing_modules = [
            (f"{path}.{p}".strip("."), m) for p, m in mechanism.named_modules() if get_observe_method(m) is not None
        ]
        chosen += observing_modules or [(path, mechanism)]
    return chosen


def format_site(path: str) -> str:
    """Return a site's name to show: `layer1.0.bn2` for `layer1.0.bn2.attn.select`."""
    return path.partition(".attn")[0].removeprefix("net.").removesuffix(".host") or "input"


class _ObservationHook:
    """The hooks of one module."""

    def __init__(self, name: str, observations: SiteObservations) -> None:
        self.name, self.observations = name, observations
        self.state: Tensor | None = None

    def save_random_state(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.state = torch.get_rng_state()

    def record_output(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        observe = get_observe_method(module)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            if self.state is not None:
                torch.set_rng_state(self.state)
            observed = observe(inputs, output) if observe else guess_gate(inputs[0], output)
        if observed:
            self.observations[self.name] = [*self.observations.get(self.name, []), *observed]


def guess_gate(x: Any, y: Any) -> list[Observation]:
    """Return the gate of a module that maps x to y; nothing if it is no map or its shape changes."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == 4 and x.shape == y.shape):
        return []
    what, factors = gate_estimation.estimate_gate(x, y)
    return [Observation("gate", what, factors)]
