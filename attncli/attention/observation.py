"""What a mechanism lets people see of itself, beside the gate that its input and output give away.

Any module of a mechanism may have a method `seen(inputs, output) -> list[Seen]`: `inputs` is the tuple that its
forward has just taken, `output` what it has returned. It is called by whoever looks (`attncli look`), in eval mode,
without gradients, and under the random state that forward had, so that drawing again draws the same. Training
never calls it.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

ObservationKind = Literal["gate", "affinity", "choice", "offsets", "path", "warp"]

KINDS: dict[ObservationKind, str] = {
    "gate": "factors on a map: any shape that broadcasts to (N, C, H, W)",
    "affinity": "how much each query (row) takes from each key (column): (N, L, S), rows sum to 1",
    "choice": "weights of M branches, kernels or experts: (N, M), or (N, M, C) where each channel has its own",
    "offsets": "where each tap looks beside its regular place, in pixels of the input: (N, taps, 2, H', W'), (y, x)",
    "path": "places looked at one after the other: (N, T, 2), (x, y), each axis from -1 to 1 over the image",
    "warp": "where each output pixel looks: (N, H, W, 2), (x, y), each axis from -1 to 1 over the input",
}


@dataclass(frozen=True)
class Observation:
    """Something of one `kind` that a mechanism did to a batch; shapes as KINDS says, `what` in a few words."""

    kind: ObservationKind
    what: str
    values: Tensor
    queries: tuple[int, int] | None = None  # (rows, columns) of an affinity's queries
    keys: tuple[int, int] | None = None  # the same of its keys; None where they are not places of the image
    tokens: bool = False  # queries, and keys if as many, tile the image, after a class token if one is left over
    names: tuple[str, ...] = ()  # of what is chosen from
    taps: Tensor | None = None  # (taps, 2): regular places of offsets, (y, x) in pixels from the middle
    sides: tuple[int, ...] = ()  # of the squares looked at along a path, in pixels
