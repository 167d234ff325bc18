"""The tree of a claim. The position of a part in the text (`at`) does not count when trees are compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field

EXACT = {
    "params": "parameters",
    "macs": "multiply-accumulates of one image",
    "memory": "activation bytes of one image's training step",
}
SPEED = {
    "train_speed": "images/s in training",
    "infer_speed": "images/s in inference",
    "latency": "seconds of an inference step",
}
ACCURACY = {"top1": "test top-1, 0 to 1", "top5": "test top-5, 0 to 1"}
QUANTITIES = EXACT | SPEED | ACCURACY
FUNCTIONS = ("abs", "max", "min")
ORDERS = ("<", "<=", ">", ">=", "==", "!=")
SETTINGS = {  # of a call -> what they are
    "size": "side of the images in pixels",
    "classes": "number of classes",
    "frames": "frames of a clip",
    "dataset": "dataset of the runs",
    "recipe": "recipe of the runs",
}
SUFFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01}

Value = int | float | bool | str | tuple["Value", ...] | None
Options = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Number:
    """A number as it was written, and the suffix that scales it."""

    text: str
    suffix: str = ""
    at: int = field(default=0, compare=False)

    @property
    def value(self) -> int | float:
        """Its value; whole numbers are exact."""
        plain = self.text.replace("_", "")
        if not self.suffix and plain.isdigit():
            return int(plain)
        if self.suffix == "%":
            return float(plain) / 100
        scaled = float(plain) * SUFFIXES[self.suffix]
        return round(scaled) if self.suffix and abs(scaled - round(scaled)) < 1e-6 else scaled


@dataclass(frozen=True)
class NamedModule:
    """A backbone or a mechanism, by name, with options."""

    name: str
    options: Options = ()
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class NetworkExpression:
    """A backbone (or a mechanism that is a whole network), and what is put into it and where."""

    base: NamedModule
    attn: NamedModule | None = None
    site: str | None = None
    stages: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Quantity:
    """A quantity of a network under settings."""

    name: str
    network: NetworkExpression
    settings: Options = ()
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class FunctionCall:
    """abs, max or min."""

    name: str
    arguments: tuple["Expression", ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Negation:
    """-x."""

    of: "Expression"


@dataclass(frozen=True)
class BinaryOperation:
    """x + y, x - y, x * y or x / y."""

    sign: str
    left: "Expression"
    right: "Expression"


Expression = Number | Quantity | FunctionCall | Negation | BinaryOperation


@dataclass(frozen=True)
class ComparisonLink:
    """One step of a chain: the sign, what stands right of it, and for "~" by how much they may differ."""

    sign: str
    right: Expression
    tolerance: Expression | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class ComparisonChain:
    """A chain of comparisons."""

    first: Expression
    links: tuple[ComparisonLink, ...]

    def link_pairs(self) -> Iterator[tuple[Expression, ComparisonLink]]:
        """Yield each link with what stands left of it."""
        left_side = self.first
        for link in self.links:
            yield left_side, link
            left_side = link.right


@dataclass(frozen=True)
class ClaimTree:
    """Comparisons that all have to hold."""

    parts: tuple[ComparisonChain, ...]

    def link_pairs(self) -> Iterator[tuple[Expression, ComparisonLink]]:
        """Yield every single comparison: what stands left, and the link."""
        for part in self.parts:
            yield from part.link_pairs()


def iterate_quantities(tree: ClaimTree | ComparisonChain | ComparisonLink | Expression) -> Iterator[Quantity]:
    """Yield the quantities of a tree from left to right, repeated ones too."""
    return (node for node in iterate_nodes(tree) if isinstance(node, Quantity))


def iterate_nodes(
    tree: ClaimTree | ComparisonChain | ComparisonLink | Expression,
) -> Iterator[ClaimTree | ComparisonChain | ComparisonLink | Expression]:
    """Yield a tree and everything in it, from left to right, the outer ones first."""
    yield tree
    for child in _list_children(tree):
        yield from iterate_nodes(child)


def _list_children(
    tree: ClaimTree | ComparisonChain | ComparisonLink | Expression,
) -> tuple["ComparisonChain | ComparisonLink | Expression", ...]:
    if isinstance(tree, ClaimTree):
        return tree.parts
    if isinstance(tree, ComparisonChain):
        return (tree.first, *tree.links)
    if isinstance(tree, ComparisonLink):
        return (tree.right,) if tree.tolerance is None else (tree.right, tree.tolerance)
    if isinstance(tree, FunctionCall):
        return tree.arguments
    if isinstance(tree, Negation):
        return (tree.of,)
    return (tree.left, tree.right) if isinstance(tree, BinaryOperation) else ()
