"""Read from a user's file what builds their network, `FILE.py:NAME`, without running it."""

import ast
from pathlib import Path

from attncli.errors import UserError, unknown_name_error
from attncli.system import source_inspection
from attncli.system.code_reference import split_code_reference
from attncli.system.files import expand_user_path

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
        names = source_inspection.list_definitions(source_inspection.parse_source(path))
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
    tree = source_inspection.parse_source(path)
    parameters = source_inspection.read_parameters(tree, definition)
    if parameters is None:
        raise unknown_name_error("network", definition, source_inspection.list_definitions(tree), location=str(path))
    by_lower_name = {parameter.name.lower(): parameter.name for parameter in parameters}
    name = next((by_lower_name[name] for name in CLASS_COUNTS if name in by_lower_name), None)
    if name is None and source_inspection.takes_any_keyword(tree, definition):
        name = CLASS_COUNTS[0]
    if name is None:
        node = source_inspection.find_definition(tree, definition)
        hint = f"call it {CLASS_COUNTS[0]}; a function that builds the network may take it and pass it on"
        takes = ", ".join(parameter.name for parameter in parameters) or "nothing"
        kind = "function" if isinstance(node, ast.FunctionDef) else "class"
        raise UserError(f"{path}: the {kind} {definition} takes no number of classes, but {takes}", hint)
    required = [p.name for p in parameters if p.default is None and p.name != name]
    if required:
        raise UserError(
            f"{path}: {definition} needs {', '.join(required)} beside {name}",
            "give them defaults, or write a function that takes the number of classes and builds the network",
        )
    return name
