"""How a mechanism's test file describes its mechanism, and how the contract builds it.

A test file `tests/attention/test_<name>.py` holds, beside its own tests:

- `OPTIONS`: a list of dicts, every option with every kind of value it takes; {}, the defaults, comes first;
- `FACTS` (optional): a list of dicts of site arguments, if the defaults below do not suit;
- `width(facts, options)` (optional): channels of the output, if they differ from the site's;
- `settle(module)` (optional): brings a module with random weights back to a state in which it has gradients;
- `dead(options)` (optional): the parameters that learn nothing, if other options than the defaults change the card's;
- `parameters(facts, options)`: the card's formula for the number of parameters, written independently of the module;
- `official(meta, params)`: (our module, our state_dict) for the constructor and weights of a parity fixture, derived
  from the shapes of `params` and the constructor arguments in `meta`, for any shapes and arguments; or else
  `NO_OFFICIAL`, one sentence that says why there is no official implementation to compare with.
"""

import importlib
import inspect
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention

DEFAULT_FACTS = {
    "channels": 32,
    "channels_in": 32,
    "stride": 1,
    "groups": 1,
    "size": (9, 7),
    "stage": 1,
    "frames": 4,
    "classes": 5,
}


@dataclass(frozen=True)
class Case:
    """A mechanism at a site with its options."""

    name: str
    facts: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    @property
    def site(self) -> str:
        """The mechanism's own site."""
        return attention.describe_mechanism(self.name).card.site

    def dead_parameters(self) -> tuple[str, ...]:
        """Return patterns of the names of parameters that learn nothing."""
        dead = getattr(own(self.name), "dead", None)
        return attention.describe_mechanism(self.name).card.dead if dead is None else dead(self.options)

    def build(self, seed: int = 0) -> nn.Module:
        """Return the module, freshly initialised from `seed`."""
        torch.manual_seed(seed)
        wanted = attention.describe_mechanism(self.name).site_arguments
        arguments = {name: value for name, value in self.facts.items() if name in wanted}
        return attention.load(self.name).Attention(**arguments, **self.options)

    def inputs(self, n: int = 2, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """Return what the module takes at its site, for n samples (n clips if it works on frames)."""
        g = torch.Generator().manual_seed(seed)
        f, (h, w) = self.facts, self.facts["size"]

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=g, dtype=dtype)

        if self.site == "frames-head":
            return (draw(n * f["frames"], f["channels"]),)
        if self.site == "frames":
            return (draw(n * f["frames"], f["channels"], h, w),)
        if self.site == "join":
            s = f["stride"]
            out = (n, f["channels"], -(-h // s), -(-w // s))
            return (draw(n, f["channels_in"], h, w), draw(*out), draw(*out))
        width = f["channels_in"] if self.site in ("conv", "model") else f["channels"]
        return (draw(n, width, h, w),)

    def output_shape(self, n: int = 2) -> tuple[int, ...]:
        """Return the shape that the site expects back."""
        f, (h, w) = self.facts, self.facts["size"]
        if self.site in ("model", "frames-head"):
            return (n, f["classes"])
        s = f["stride"] if self.site in ("conv", "join") else 1
        n = n * f["frames"] if self.site == "frames" else n
        width = getattr(own(self.name), "width", lambda facts, options: facts["channels"])(f, self.options)
        return (n, width, -(-h // s), -(-w // s))


def own(name: str) -> ModuleType:
    """Return the test file of a mechanism."""
    return importlib.import_module(f"tests.attention.test_{name.replace('-', '_')}")


def cases() -> list[Case]:
    """Return every mechanism with each of its options, at every site that its test file names."""
    all_cases = []
    for name in attention.mechanism_names():
        module = own(name)
        for facts in getattr(module, "FACTS", [{}]):
            all_cases += [Case(name, {**DEFAULT_FACTS, **facts}, options) for options in module.OPTIONS]
    return all_cases


def randomise(module: nn.Module, seed: int = 2) -> nn.Module:
    """Draw every parameter and running statistic again, so that zero initialisations hide nothing.

    Weights deviate by 0.3, less where many inputs are summed: a deep stack of them must not saturate.
    """
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            scale = min(0.3, 2.4 / p[0].numel() ** 0.5) if p.ndim > 1 else 0.3
            mean = 1 if _is_norm(module, name) else 0
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) * scale + mean)
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=g) * 0.3)
            if name.endswith("running_var"):
                b.copy_(torch.rand(b.shape, generator=g) + 0.5)
    return module


def _is_norm(module: nn.Module, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    return leaf == "weight" and "Norm" in type(module.get_submodule(owner)).__name__


def forward(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Run a forward pass under a fixed random state, for mechanisms that draw in it (ram, dropout)."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        y = module(*inputs)
    assert isinstance(y, Tensor), f"{inspect.getfile(type(module))}: forward returns one tensor"
    return y
