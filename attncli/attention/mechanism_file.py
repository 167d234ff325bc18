"""Read a mechanism from its file without running it: its card, and what its class takes.

A file of ours has `card` and `Attention`: positional parameters are values of the site, keyword-only ones options. A
class as papers publish it (`mine.py:CBAM`, or `Attention` in a file without a card) is read by other rules: its first
parameter is the width, under any name; parameters with defaults are options; whatever else it needs must be a width
again (`oup`, `out_channels`), the height and width of the map (`h` and `w`, or both as `input_resolution`), or have the
name of a site argument.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli.attention.card import SITE_ARGUMENTS, SITES, Card
from attncli.errors import UserError, unknown_name_error
from attncli.system import source_inspection
from attncli.system.definitions import (
    FoundDefinition,
    find_definition,
    list_definitions,
    open_source,
    read_method_parameters,
    read_parameters,
)
from attncli.system.source_inspection import ConstructorParameter, SignatureParameter

CLASS = "Attention"
OWN_CATEGORY = "own"
COMBINED_CATEGORY = "combined"
_WIDTHS = {
    "channel", "channels", "in_channel", "in_channels", "inchannel", "inchannels", "in_planes", "inplanes",
    "planes", "gate_channel", "gate_channels", "inp", "in_dim", "dim", "dims", "c", "c1", "ch", "in_ch", "in_c",
    "num_channels", "n_channels", "num_features", "features", "input_dim", "d_model", "embed_dim",
}  # fmt: skip
_OUTPUT_WIDTHS = {
    "out_channel", "out_channels", "oup", "outp", "out_planes", "outplanes", "out_dim", "out_ch", "out_c", "c2",
}  # fmt: skip
_NO_WIDTHS = {
    "height", "width", "h", "w", "kernel", "kernel_size", "k_size", "k", "reduction", "ratio", "r", "heads",
    "num_heads",
}  # fmt: skip
_HEIGHTS = {"h", "height", "map_height", "feat_h", "fmap_h", "in_h"}
_MAP_WIDTHS = {"w", "width", "map_width", "feat_w", "fmap_w", "in_w"}
_MAP_SIZES = {"input_resolution", "feat_size", "fmap_size"}  # (H, W), as Swin, timm and BoTNet call it


@dataclass(frozen=True)
class Mechanism:
    """A mechanism as its file describes it.

    `arguments` are the constructor's parameters that the site sets, each with the site argument that it gets.
    `options` are those that a recipe may set. A combination has neither: each of its parts has its own.
    """

    name: str
    reference: str  # what a recipe calls it
    category: str
    path: Path
    doc: str
    card: Card
    arguments: dict[str, str]
    options: dict[str, ConstructorParameter]
    parts: tuple["Mechanism", ...] = ()  # of a combination, such as se+simam, in order

    @property
    def members(self) -> tuple["Mechanism", ...]:
        """The parts of a combination, or the mechanism itself."""
        return self.parts or (self,)

    @property
    def option_section(self) -> str:
        """The name under which a combination has the options of this part: the last word of its name."""
        return self.name.rpartition(".")[2]

    @property
    def site_arguments(self) -> tuple[str, ...]:
        """The facts about its place that the constructor takes."""
        return tuple(dict.fromkeys(self.arguments.values()))

    @property
    def is_whole_network(self) -> bool:
        """Whether the mechanism is the whole network and needs no backbone."""
        return self.card.site == "model"

    @property
    def needs_clips(self) -> bool:
        """Whether the mechanism works on the frames of clips, and not on still images."""
        return any(member.card.site.startswith("frames") for member in self.members)

    def select_options(self, options: dict[str, Any], combination: "Mechanism") -> dict[str, Any]:
        """Return this member's options of those that a recipe has for the combination; lists become tuples."""
        own = options.get(self.option_section) or {} if combination.parts else options
        return {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}

    def select_arguments(self, site_values: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments for a place, of whose values (by site argument) it takes some."""
        sides = dict(zip(("height", "width"), site_values.get("size") or (), strict=False))
        values = {**sides, **site_values}
        return {name: values[source] for name, source in self.arguments.items() if source in values}


def combine_mechanisms(reference: str, parts: Sequence[Mechanism]) -> Mechanism:
    """Return several mechanisms as one, each with its own site and options.

    Raises UserError for a mechanism that stands twice, or that is a whole network.
    """
    names = [part.option_section for part in parts]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise UserError(f"'{reference}': {repeated[0]} stands twice", "name each mechanism once")
    whole = [part.name for part in parts if part.is_whole_network]
    if whole:
        raise UserError(f"'{reference}': {whole[0]} is a whole network", "it cannot be combined with another mechanism")
    return Mechanism(
        name="+".join(part.name for part in parts),
        reference=reference,
        category=COMBINED_CATEGORY,
        path=parts[0].path,
        doc="\n\n".join(part.doc for part in parts),
        card=Card(
            title=" + ".join(part.card.title for part in parts),
            site=parts[0].card.site,
            zero_init_residual=any(part.card.zero_init_residual for part in parts),
        ),
        arguments={},
        options={},
        parts=tuple(parts),
    )


def read_mechanism_file(
    path: Path, name: str, category: str, class_name: str | None = None, reference: str = ""
) -> Mechanism:
    """Return the mechanism in a file, read without running it.

    Args:
        path: The file.
        name: The name of the mechanism.
        category: Its category.
        class_name: The class, or function that returns a module; None for `Attention`.
        reference: What a recipe calls it; "" if that is its name.

    Raises:
        UserError: The file lacks the class, or the class or its card is malformed.
    """
    file = open_source(path)
    card_node = source_inspection.find_assignment(file.tree, "card")
    definition = find_definition(file, class_name or CLASS)
    if definition is None:
        raise _make_missing_class_error(file.tree, path, class_name)
    parameters = read_parameters(definition)
    follows_convention = class_name is None and card_node is not None
    read_arguments = _read_convention if follows_convention else _read_published_class
    arguments, option_parameters = read_arguments(path, class_name or CLASS, parameters)
    if card_node is None:
        _check_forward(definition, path, class_name or CLASS)
    return Mechanism(
        name,
        reference or name,
        category,
        path,
        _read_doc(definition, class_name),
        Card(title=class_name or path.stem, site="gate") if card_node is None else _read_card(card_node, path),
        arguments,
        _read_options(path, class_name or CLASS, option_parameters, skip_computed=not follows_convention),
    )


def _make_missing_class_error(tree: ast.Module, path: Path, class_name: str | None) -> UserError:
    classes = list(dict.fromkeys(node.name for node in tree.body if isinstance(node, ast.ClassDef)))
    if class_name is not None:
        return unknown_name_error("class", class_name, list_definitions(tree), location=str(path))
    return UserError(
        f"{path}: no `class {CLASS}(nn.Module)`",
        f"name one of its classes: {', '.join(f'{path}:{name}' for name in classes)}"
        if classes
        else "a mechanism's file defines a class; `attncli help contributing` shows one",
    )


def _read_doc(definition: FoundDefinition, class_name: str | None) -> str:
    return (class_name and ast.get_docstring(definition.node)) or ast.get_docstring(definition.file.tree) or ""


def _read_convention(
    path: Path, class_name: str, parameters: Sequence[SignatureParameter]
) -> tuple[dict[str, str], list[SignatureParameter]]:
    """Return (site argument by parameter, options) of a class beside a card: positional ones are site arguments."""
    arguments, options = {}, []
    for parameter in parameters:
        if parameter.is_keyword or (parameter.default is not None and parameter.name not in SITE_ARGUMENTS):
            options.append(parameter)
        elif parameter.name in SITE_ARGUMENTS:
            arguments[parameter.name] = parameter.name
        else:
            error = unknown_name_error(
                "site argument", parameter.name, SITE_ARGUMENTS, location=f"{path}: {class_name}.__init__"
            )
            raise UserError(error.problem, f"{error.hint}; an option needs a default")
    return arguments, options


def _read_published_class(
    path: Path, class_name: str, parameters: Sequence[SignatureParameter]
) -> tuple[dict[str, str], list[SignatureParameter]]:
    """Return (site argument by parameter, options) of a class that was not written for attncli."""
    arguments: dict[str, str] = {}
    options: list[SignatureParameter] = []
    unknown: list[str] = []
    sides = _find_map_sides(parameters)
    for i, parameter in enumerate(parameters):
        name, is_required = parameter.name, parameter.default is None
        known_site_argument = name in SITE_ARGUMENTS and name != "channels_in"
        if (i == 0 and name.lower() in _WIDTHS) or (is_required and name.lower() in _OUTPUT_WIDTHS):
            arguments[name] = "channels"
        elif not is_required:
            options.append(parameter)
        elif name in sides:
            arguments[name] = sides[name]
        elif name.lower() in _MAP_SIZES:
            arguments[name] = "size"
        elif known_site_argument:
            arguments[name] = name
        elif i == 0 and not parameter.is_keyword and name.lower() not in _NO_WIDTHS:
            arguments[name] = "channels"
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{path}: {class_name} needs {', '.join(unknown)}: no place in a network has a value for that",
            "give it a default, or derive a class that takes only the width, or `size` for (H, W)",
        )
    return arguments, options


def _find_map_sides(parameters: Sequence[SignatureParameter]) -> dict[str, str]:
    """Return `height` and `width` by the parameters that take those of the map; both are needed to tell them."""
    required = [parameter.name for parameter in parameters if parameter.default is None]
    heights = [name for name in required if name.lower() in _HEIGHTS]
    widths = [name for name in required if name.lower() in _MAP_WIDTHS]
    return {heights[0]: "height", widths[0]: "width"} if len(heights) == len(widths) == 1 else {}


def _check_forward(definition: FoundDefinition, path: Path, class_name: str) -> None:
    """Raise UserError if the forward of a class as published needs more than the map."""
    parameters = read_method_parameters(definition, "forward")
    needed = [parameter.name for parameter in parameters or () if parameter.default is None]
    if len(needed) > 1:
        raise UserError(
            f"{path}: {class_name}.forward needs {', '.join(needed[1:])} beside the map",
            "derive a class whose forward takes the map alone and gives the rest to super().forward",
        )


def _read_options(
    path: Path, class_name: str, parameters: Sequence[SignatureParameter], skip_computed: bool
) -> dict[str, ConstructorParameter]:
    """Return the options by name. One whose default is computed, such as a class, is an error or is left out."""
    options = {}
    for parameter in parameters:
        try:
            options[parameter.name] = ConstructorParameter(
                parameter.annotation, source_inspection.evaluate_default(parameter)
            )
        except UserError as error:
            if not skip_computed:
                raise UserError(f"{path}, {error.problem}", error.hint) from error
    return options


def _read_card(node: ast.expr, path: Path) -> Card:
    """Return the Card that a file writes down as a call with literal arguments."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Card"):
        raise UserError(f"{path}: `card` is not a Card(...)", "write card = Card(title=..., site=..., ...)")
    try:
        card = Card(**{keyword.arg or "": ast.literal_eval(keyword.value) for keyword in node.keywords})
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: card: {error}", "a card holds literal values only, each under a known name"
        ) from error
    for site in (card.site, card.mobile_site or card.site, *card.sites):
        if site not in SITES:
            raise unknown_name_error("site", site, SITES, location=f"{path}: card")
    return card
