"""How a family describes its networks: the blocks, and the submodules that a site wraps or replaces."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Block:
    """A residual block by the paths of its parts in the network (`net.get_submodule(path)`).

    `convs` are its 3x3 convolutions in order and `norms` the norm after each; a basic block has two, a
    bottleneck one. `last_conv` is the convolution that ends the branch, `last_norm` the norm after it.
    `widens` is False for an inverted residual without expansion, which has no site mid, and `shortcut` where
    nothing is added to the branch, so that there is no site join.
    """

    stage: int  # from 1
    index: int  # in its stage, from 1
    path: str
    convs: tuple[str, ...]
    norms: tuple[str, ...]
    last_conv: str
    last_norm: str
    widens: bool = True
    shortcut: bool = True


@dataclass(frozen=True)
class Anatomy:
    """A network by its parts. `join` makes a block compute `attn(x, branch, shortcut)` in place of the sum."""

    blocks: tuple[Block, ...]
    stem: str
    pool: str
    classifier: str
    join: Callable[[nn.Module, nn.Module], None]

    @property
    def stages(self) -> int:
        """The number of stages."""
        return max(block.stage for block in self.blocks)
