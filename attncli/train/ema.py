"""A moving average of a network's weights (Polyak and Juditsky 1992), which is evaluated instead of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """m = d m + (1 - d) w over real and complex parameters and buffers; `decay` is the largest d.

    Buffers that a module sets in its method `anneal` stay as they are: they are a schedule, nothing learnt.

    d = min(decay, (1 + t) / (10 + t)) at step t (from 1), so that the random start does not dominate a short run
    (the rule of TensorFlow's ExponentialMovingAverage with `num_updates`).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        scheduled = _list_scheduled_buffers(model)
        self.live_weights = {
            name: t
            for name, t in model.state_dict().items()
            if (t.is_floating_point() or t.is_complex()) and name not in scheduled
        }  # share memory
        self.averaged_weights = {name: t.clone() for name, t in self.live_weights.items()}

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Add the weights after step `step` (from 1) to the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.averaged_weights.values()), list(self.live_weights.values()), step)

    @contextmanager
    def applied_average(self) -> Iterator[None]:
        """Put the average into the network within a `with` block."""
        self.swap_weights()
        try:
            yield
        finally:
            self.swap_weights()

    @torch.no_grad()
    def swap_weights(self) -> None:
        """Swap the network's weights and the average.

        All weights are copied before one is changed, as a weight that two layers share is here under two names.
        """
        previous_weights = {name: live_weight.clone() for name, live_weight in self.live_weights.items()}
        for name, live_weight in self.live_weights.items():
            live_weight.copy_(self.averaged_weights[name])
            self.averaged_weights[name].copy_(previous_weights[name])

    @torch.no_grad()
    def restore_average(self, saved: dict[str, Tensor]) -> None:
        """Restore a saved average. Raises KeyError or RuntimeError if it does not fit."""
        for name, averaged_weight in self.averaged_weights.items():
            averaged_weight.copy_(saved[name])


def _list_scheduled_buffers(model: nn.Module) -> set[str]:
    """Return the names of the buffers that modules with a method `anneal` set themselves."""
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        if callable(getattr(module, "anneal", None))
        for name, _ in module.named_buffers(recurse=False)
    }
