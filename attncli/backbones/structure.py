"""How a family builds its networks and describes them: the blocks, and the submodules that a site wraps or replaces."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from torch import nn

from attncli.errors import UserError


@dataclass(frozen=True)
class BlockPaths:
    """The paths of a block's parts in the network (`net.get_submodule(path)`).

    `convs` are its spatial convolutions (kernels above 1x1) in order: two in a basic block, one in a bottleneck.
    `norms` holds the norm after each, or None if another layer follows. `last_conv` is the convolution that ends the
    branch. `branch_end` is the last part of the branch: the norm after that convolution, or the convolution itself
    if it has none. Both are None if the branch ends with something else (ConvNeXt's linear layers). `widens` is False
    if nothing comes before `last_conv` in the block (an inverted residual without expansion, a single convolution),
    so that there is no site mid. `shortcut` is False if nothing is added to the branch: there is no site join.

    `entry` takes the input of the block and `exit` returns its output, if the block is no submodule of its own or
    passes more than one map; None if there is no such submodule. `se` is its built-in squeeze-and-excitation.
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
        """The path of the submodule that takes the input of the block."""
        return self.path if self.entry == "" else self.entry

    @property
    def part_prefixes(self) -> tuple[str, ...]:
        """What the paths of parts begin with that may stand beside its path, such as a convolution's norm."""
        parts = (*self.norms, self.branch_end, self.exit)
        return tuple(f"{part}." for part in parts if part)

    @property
    def output_path(self) -> str | None:
        """The path of the submodule that returns the output of the block."""
        return self.path if self.exit == "" else self.exit


@dataclass(frozen=True)
class NetworkStructure:
    """The parts of a network.

    `join` makes a block compute `attn(x, branch, shortcut)` in place of the sum; it is None if blocks add nothing,
    and then there is no site join. `pool` is None if no submodule pools the last map: there is no site head.
    """

    blocks: tuple[BlockPaths, ...]
    stem: str
    pool: str | None
    classifier: str
    join: Callable[[nn.Module, nn.Module], None] | None = None
    remarks: str = ""  # on a network without blocks: what it has
    unclear: UserError | None = None  # on a network without blocks: why they cannot be told, and what settles it

    @property
    def stage_count(self) -> int:
        """The number of stages."""
        return max((block.stage for block in self.blocks), default=0)

    def find_stage(self, path: str) -> int | None:
        """Return the stage of the block that a submodule or parameter is a part of, or None if it is of none."""
        inside = (block for block in self.blocks if f"{path}.".startswith(f"{block.path}."))
        beside = (block for block in self.blocks if f"{path}.".startswith(block.part_prefixes))
        return next((block.stage for block in chain(inside, beside)), None)


class BackboneFamily(Protocol):
    """What the module of a family offers."""

    NAMES: tuple[str, ...]

    def build(self, name: str, classes: int, cifar_stem: bool) -> nn.Module:
        """Return the network `name` with random weights; (N, 3, H, W) -> (N, classes)."""

    def find_structure(self, net: nn.Module) -> NetworkStructure:
        """Return the parts of a network of this family."""
