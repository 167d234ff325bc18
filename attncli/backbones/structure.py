"""How a family describes its networks: the blocks, and the submodules that a site wraps or replaces."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class BlockPaths:
    """A block by the paths of its parts in the network (`net.get_submodule(path)`).

    `convs` are its spatial convolutions (kernels above 1x1) in order and `norms` the norm after each, None where
    another layer follows; a basic block has two, a bottleneck one. `last_conv` is the convolution that ends the
    branch, `branch_end` what the branch ends with: the norm after that convolution, or itself where it has none.
    Either is
    None where the branch ends with something else (ConvNeXt's linear layers), and `last_conv` is no site where the
    block has no inside: `widens` is False for an inverted residual without expansion and a single convolution.
    `shortcut` is False where nothing is added to the branch, so that there is no site join.

    `entry` takes the input of the block and `exit` gives its output, where the block is no submodule of its own or
    passes more than one map; None where there is no such submodule. `se` is its built-in squeeze-and-excitation.
    """

    stage: int  # from 1
    index: int  # in its stage, from 1
    path: str
    convs: tuple[str, ...]
    norms: tuple[str | None, ...]
    last_conv: str | None
    branch_end: str | None
    widens: bool = True
    shortcut: bool = True
    entry: str | None = ""  # "" = the block itself
    exit: str | None = ""
    se: str | None = None

    @property
    def input_path(self) -> str | None:
        """The submodule that takes the input of the block."""
        return self.path if self.entry == "" else self.entry

    @property
    def output_path(self) -> str | None:
        """The submodule that gives the output of the block."""
        return self.path if self.exit == "" else self.exit


@dataclass(frozen=True)
class NetworkStructure:
    """A network by its parts. `join` makes a block compute `attn(x, branch, shortcut)` in place of the sum.

    It is None where blocks add nothing, and `pool` where no submodule pools the last map: no sites join and head.
    """

    blocks: tuple[BlockPaths, ...]
    stem: str
    pool: str | None
    classifier: str
    join: Callable[[nn.Module, nn.Module], None] | None = None

    @property
    def stage_count(self) -> int:
        """The number of stages."""
        return max((block.stage for block in self.blocks), default=0)
