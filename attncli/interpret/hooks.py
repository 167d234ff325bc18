"""Record what attention does while a network runs: one hook for every mechanism.

A mechanism, or a module within it, that has a method `observe` (see `attncli.attention.observation`) reports it. Any
other counts as a gate, y = s x, whose s follows from its input and output. The same holds for user-defined
mechanisms.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from attncli import model
from attncli.attention.observation import Observation, get_observe_method
from attncli.interpret import gate_estimation
from attncli.train.random_state import kept_random_state, read_random_state, write_random_state

SiteObservations = dict[str, list[Observation]]
GateKinds = dict[tuple[str, int], str]  # what `guess_gate` found, by site and the number of the observation there


@contextmanager
def recorded_observations(net: nn.Module, gate_kinds: GateKinds | None = None) -> Iterator[SiteObservations]:
    """Yield what is observed at each site, by path, of the last batch that runs through `net` inside the block.

    The observations are on the CPU, wherever the network is. `gate_kinds` is filled by the first batch; given again
    with the next one, each site stays what it was then.
    """
    observations: SiteObservations = {}
    known_kinds: GateKinds = {} if gate_kinds is None else gate_kinds
    handles, device = [], next(net.parameters()).device
    for site, module in list_observed_modules(net):
        hook = _ObservationHook(site, observations, known_kinds, device)
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
    """Return (site, module) to look at: the modules of each mechanism with `observe`, or itself if none has it."""
    chosen = []
    for path, mechanism in model.find_mechanisms(net).items():
        observing_modules = [(p, m) for p, m in mechanism.named_modules() if get_observe_method(m) is not None]
        chosen += [(_name_site(path, part), m) for part, m in observing_modules or [("", mechanism)]]
    return chosen


def _name_site(path: str, part: str) -> str:
    """Return a site's name to show: `layer1.0.bn2` for the mechanism `layer1.0.bn2.attn`, whichever part is looked at.

    In a mechanism that is the whole network, whose path is "", the part names the site.
    """
    place = path.removesuffix(".attn") if path else part.partition(".attn")[0]
    return place.removeprefix("net.").removesuffix(".host") or "input"


class _ObservationHook:
    """The hooks of one module."""

    def __init__(self, name: str, observations: SiteObservations, gate_kinds: GateKinds, device: torch.device) -> None:
        self.name, self.observations, self.gate_kinds, self.device = name, observations, gate_kinds, device
        self.states: list[Tensor] = []

    def save_random_state(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.states = read_random_state(self.device)

    def record_output(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        observe = get_observe_method(module)
        with torch.no_grad(), kept_random_state(self.device):
            write_random_state(self.states, self.device)
            observed = observe(inputs, output) if observe else None
            if not _is_report(observed):
                observed = self._guess_gate(inputs[0], output)
        if observed:
            on_host = [
                replace(o, values=o.values.cpu(), taps=None if o.taps is None else o.taps.cpu()) for o in observed
            ]
            self.observations[self.name] = [*self.observations.get(self.name, []), *on_host]

    def _guess_gate(self, x: Any, y: Any) -> list[Observation]:
        place = self.name, len(self.observations.get(self.name, []))
        observed = guess_gate(x, y, self.gate_kinds.get(place))
        for observation in observed:
            self.gate_kinds[place] = observation.what
        return observed


def _is_report(observed: Any) -> TypeGuard[list[Observation]]:
    """Return whether a method returned observations; a method of users' own that has the name returns other things."""
    return isinstance(observed, list | tuple) and all(isinstance(o, Observation) for o in observed)


def guess_gate(x: Any, y: Any, what: str | None = None) -> list[Observation]:
    """Return the gate of a module that maps x to y; nothing if it is no map or its shape changes.

    `what` is what an earlier batch showed it to be.
    """
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == 4 and x.shape == y.shape):
        return []
    what, factors = gate_estimation.estimate_gate(x, y, what)
    return [Observation("gate", what, factors)]
