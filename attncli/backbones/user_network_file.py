"""Read from a user's file what builds their network, `FILE.py:NAME`, without running it."""

import ast
from pathlib import Path

from attncli.errors import UserError, unknown_name_error
from attncli.system.code_reference import split_code_reference
from attncli.system.definitions import (
    find_definition,
    list_definitions,
    open_source,
    read_parameters,
    takes_any_keyword,
)
from attncli.system.files import expand_user_path
from attncli.system.source_inspection import parse_source

KEY = "model.backbone"
CLASS_COUNTS = (
    "num_classes", "n_classes", "nb_classes", "classes", "num_class", "n_class", "nclass", "nclasses", "numclasses",
    "class_num", "classes_num", "class_count", "num_labels", "n_labels", "num_outputs", "n_outputs", "out_features",
    "out_dim", "output_dim", "num_cls", "ncls",
)  # fmt: skip


def split_network_reference(reference: str) -> tuple[Path, str]:
    """Return (file, name in it) of a user's network. Raises UserError if there is no name, with the possible ones."""
    file_name, definition = split_code_reference(reference)
    path = expand_user_path(file_name, KEY)
    if definition is None:
        names = list_definitions(parse_source(path))
        raise UserError(
            f"{path}: which class or function is the network?",
            f"one of: {', '.join(f'{file_name}:{name}' for name in names)}" if names else "it defines none",
        )
    return path, definition


def find_class_count(reference: str) -> str:
    """Return the name of the parameter that takes the number of classes, read without running the file.

    Raises UserError if the file lacks the network, or the network takes no number of classes or needs more than that.
    """
    path, definition = split_network_reference(reference)
    file = open_source(path)
    network = find_definition(file, definition)
    if network is None:
        raise unknown_name_error("network", definition, list_definitions(file.tree), location=str(path))
    parameters = read_parameters(network)
    by_lower_name = {parameter.name.lower(): parameter.name for parameter in parameters}
    name = next((by_lower_name[name] for name in CLASS_COUNTS if name in by_lower_name), None)
    if name is None and takes_any_keyword(network):
        name = CLASS_COUNTS[0]
    if name is None:
        hint = f"call it {CLASS_COUNTS[0]}; a function that builds the network may take it and pass it on"
        takes = ", ".join(parameter.name for parameter in parameters) or "nothing"
        kind = "function" if isinstance(network.node, ast.FunctionDef) else "class"
        raise UserError(f"{path}: the {kind} {definition} takes no number of classes, but {takes}", hint)
    required = [p.name for p in parameters if p.default is None and p.name != name]
    if required:
        raise UserError(
            f"{path}: {definition} needs {', '.join(required)} beside {name}",
            "give them defaults, or write a function that takes the number of classes and builds the network",
        )
    return name
