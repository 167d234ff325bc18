"""The state of torch's random numbers, on the CPU and on the device that a network is on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def read_random_state(device: torch.device) -> list[Tensor]:
    """Return the state of the CPU's generator, and that of the device's if it has its own."""
    states = [torch.get_rng_state()]
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    elif device.type != "cpu":
        states.append(_find_generator(device).get_state())
    return states


def write_random_state(states: list[Tensor], device: torch.device) -> None:
    """Put back what `read_random_state` returned."""
    torch.set_rng_state(states[0])
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])
    elif device.type != "cpu":
        _find_generator(device).set_state(states[1])


@contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """Restore the state after a `with` block."""
    states = read_random_state(device)
    try:
        yield
    finally:
        write_random_state(states, device)


def _find_generator(device: torch.device) -> torch.Generator:
    generator: torch.Generator = getattr(torch, device.type).default_generators[device.index or 0]
    return generator
