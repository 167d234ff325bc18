"""Looking into a network while it runs: one hook for every mechanism.

A mechanism, or a module within it, that has a method `seen` (see `attncli.attention.seen`) is asked. One without is
taken for what most are: a gate, y = s x, whose s follows from what went in and what came out. That holds for users'
own mechanisms as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from attncli import model
from attncli.attention.seen import Seen
from attncli.sight import gate

Found = dict[str, list[Seen]]


@contextmanager
def watching(net: nn.Module) -> Iterator[Found]:
    """What is seen at each site, by path, of the last batch that ran through `net` inside the block."""
    found: Found = {}
    handles = []
    for path, module in watched(net):
        watch = _Watch(site(path), found)
        handles += [module.register_forward_pre_hook(watch.before), module.register_forward_hook(watch.after)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def watched(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules to look at: of each mechanism those with `seen`, or itself where none has it."""
    chosen = []
    for path, mechanism in model.mechanisms(net).items():
        asked = [(f"{path}.{p}".strip("."), m) for p, m in mechanism.named_modules() if hasattr(m, "seen")]
        chosen += asked or [(path, mechanism)]
    return chosen


def site(path: str) -> str:
    """A site's name for people: `layer1.0.bn2.attn.select` is layer1.0.bn2."""
    return path.partition(".attn")[0].removeprefix("net.") or "input"


class _Watch:
    """Looks at one module."""

    def __init__(self, name: str, found: Found) -> None:
        self.name, self.found = name, found
        self.state: Tensor | None = None

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.state = torch.get_rng_state()

    def after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        asked = getattr(module, "seen", None)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            if self.state is not None:
                torch.set_rng_state(self.state)
            seen = asked(inputs, output) if asked else guess(inputs[0], output)
        if seen:
            self.found[self.name] = [*self.found.get(self.name, []), *seen]


def guess(x: Any, y: Any) -> list[Seen]:
    """The gate of a module that maps x to y; nothing for what is no map or changes shape."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == 4 and x.shape == y.shape):
        return []
    what, factors = gate.guess(x, y)
    return [Seen("gate", what, factors)]
