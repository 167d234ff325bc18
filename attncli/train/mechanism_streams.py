"""Random numbers of mechanisms that draw while they train, from streams of their own.

One generator serves the dropout of a step. A mechanism that draws from it would shift the masks of the network's own
dropout and stochastic depth, so that a seed would no longer pair the run with the plain one. So each such mechanism
draws from a stream of its place, which starts anew at each step, and leaves the generator as it was.
"""

from typing import Any

import torch
from torch import nn

from attncli.model import find_mechanisms
from attncli.seeds import derive_seed
from attncli.train.distributed import seed_torch
from attncli.train.random_state import read_random_state, write_random_state


def separate_mechanism_draws(net: nn.Module, device: torch.device) -> None:
    """Let each mechanism of `net` that may draw in training have its own stream.

    Does nothing if only the mechanisms draw or only the network does, and if the mechanism is the whole network.
    """
    for path, module in find_drawing_mechanisms(net).items():
        hooks = module._forward_hooks.values()
        if not any(isinstance(getattr(hook, "__self__", None), _MechanismStream) for hook in hooks):
            stream = _MechanismStream(path, device)
            module.register_forward_pre_hook(stream.enter)
            module.register_forward_hook(stream.leave, always_call=True)


def find_drawing_mechanisms(net: nn.Module) -> dict[str, nn.Module]:
    """Return by path the mechanisms that draw in training while the network around them draws too."""
    mechanisms = find_mechanisms(net)
    own_modules = {id(part) for module in mechanisms.values() for part in module.modules()}
    if not any(draws_in_training(part) for part in net.modules() if id(part) not in own_modules):
        return {}
    return {path: module for path, module in mechanisms.items() if any(map(draws_in_training, module.modules()))}


def draws_in_training(module: nn.Module) -> bool:
    """Return whether a module draws random numbers: dropout, stochastic depth, or what says so by `draws`.

    Dropout and the stochastic depth of torchvision and timm differ in the name of the share: `p`, `drop_prob`.
    """
    shares = (getattr(module, name, 0) for name in ("p", "drop_prob"))
    is_dropping = "Drop" in type(module).__name__ or type(module).__name__ == "StochasticDepth"
    return getattr(module, "draws", False) is True or (is_dropping and any(shares))


class _MechanismStream:
    """The stream of one mechanism: its generator's state between the calls of a step."""

    def __init__(self, path: str, device: torch.device) -> None:
        self._path, self._device = path, device
        self._step_seed: int | None = None
        self._own_state: list[torch.Tensor] = []
        self._outer_state: list[torch.Tensor] | None = None

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        """Put the stream in place of the network's generator."""
        if not module.training:
            return
        step_seed, self._outer_state = torch.default_generator.initial_seed(), read_random_state(self._device)
        if step_seed == self._step_seed:
            write_random_state(self._own_state, self._device)
        else:
            self._step_seed = step_seed
            seed_torch(derive_seed(step_seed, "mechanism", self._path), self._device)

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        """Put the network's generator back as it was."""
        if self._outer_state is None:
            return
        self._own_state = read_random_state(self._device)
        write_random_state(self._outer_state, self._device)
        self._outer_state = None
