"""The optional method with which a mechanism shows what it does, beside the gate that its input and output reveal.

Any module of a mechanism may have a method `observe(inputs, output) -> list[Observation]`. `inputs` is the tuple that
its forward pass has just taken, `output` is what it returned. `attncli look` calls it in eval mode, without gradients,
and under the random state that the forward pass had, so that random numbers come out the same. Training never calls it.

Kinds of observations, and the shape of their `values`:

- gate: factors on a map; any shape that broadcasts to (N, C, H, W)
- affinity: how much each query (row) takes from each key (column); (N, L, S), rows sum to 1, or to 0 if a query takes
  nothing
- choice: weights of M branches, kernels or experts; (N, M), or (N, M, C) if each channel has its own
- offsets: how far each tap looks beside its regular place, in pixels of the input; (N, taps, 2, H', W'), (y, x)
- path: places looked at one after the other; (N, T, 2), (x, y), each axis from -1 to 1 over the image
- warp: where each output pixel looks; (N, H, W, 2), (x, y), each axis from -1 to 1 over the input
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

ObservationKind = Literal["gate", "affinity", "choice", "offsets", "path", "warp"]


@dataclass(frozen=True)
class Observation:
    """What a mechanism did to a batch, of one `kind`; `what` says it in a few words."""

    kind: ObservationKind
    what: str
    values: Tensor
    queries: tuple[int, int] | None = None  # (rows, columns) of an affinity's queries
    keys: tuple[int, int] | None = None  # the same for its keys; None if they are no places of the image
    tokens: bool = False  # queries, and keys if as many, tile the image, after a class token if one is left over
    names: tuple[str, ...] = ()  # of what is chosen from
    taps: Tensor | None = None  # (taps, 2): regular places of offsets, (y, x) in pixels from the middle
    sides: tuple[int, ...] = ()  # of the squares looked at along a path, in pixels


def get_observe_method(module: nn.Module) -> Callable[..., list[Observation]] | None:
    """Return the module's method `observe`, or `seen`, as it was called in version 0.1; None if it has neither.

    A method of users' own that has the name, and does not take the two arguments, is none.
    """
    methods = (getattr(module, name, None) for name in ("observe", "seen"))
    return next((method for method in methods if inspect.ismethod(method) and _takes_pass(method)), None)


def _takes_pass(method: Callable[..., Any]) -> bool:
    """Return whether a method needs two arguments: the inputs and the output of a pass."""
    parameters = inspect.signature(method).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return len(needed) == 2 and all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in needed)
