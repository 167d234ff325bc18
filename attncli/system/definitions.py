"""Classes and functions of a Python file, found without running it: also those that it imports from other files."""

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attncli.errors import UserError
from attncli.system.local_imports import find_import_base, find_package, locate_module
from attncli.system.source_inspection import SignatureParameter, find_assignment, parse_source

Definition = ast.ClassDef | ast.FunctionDef
MOST_FILES = 12  # from which a name is imported through each other


@dataclass(frozen=True)
class SourceFile:
    """A file as text. It has a module's name if another file imports it; `start` is the user's file, the first one."""

    path: Path
    tree: ast.Module
    module_name: str
    start: Path

    def open_module(self, name: str) -> "SourceFile | None":
        """Return an imported module; None if its file is not found or cannot be read."""
        path = locate_module(name, self.start)
        try:
            return None if path is None else SourceFile(path, parse_source(path), name, self.start)
        except UserError:  # told when the file is run
            return None


@dataclass(frozen=True)
class FoundDefinition:
    """A class or function, and the file in which it is written."""

    file: SourceFile
    node: Definition


def open_source(path: Path) -> SourceFile:
    """Return a file of the user. Raises UserError if it can't be read or is not Python."""
    return SourceFile(path, parse_source(path), "", path)


def list_definitions(tree: ast.Module) -> list[str]:
    """Return the names of the classes and public functions at the top level of a file, each once."""
    nodes = (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return list(dict.fromkeys(n.name for n in nodes if isinstance(n, ast.ClassDef) or not n.name.startswith("_")))


def find_definition(file: SourceFile, name: str) -> FoundDefinition | None:
    """Return the class or function that a name (`SE`, `blocks.SE`) means at the top level of a file, or None.

    Of several definitions the last counts. A name that the file imports is looked for in the imported file.
    """
    return _find_definition(file, name, MOST_FILES)


def _find_definition(file: SourceFile, name: str, files_left: int) -> FoundDefinition | None:
    nodes = (node for node in reversed(file.tree.body) if isinstance(node, Definition))
    if own := next((node for node in nodes if node.name == name), None):
        return FoundDefinition(file, own)
    if not files_left:
        return None
    for module_name, imported_name in _list_sources(file, name):
        module = file.open_module(module_name)
        if module and (imported := _find_definition(module, imported_name, files_left - 1)):
            return imported
    return None


def _list_sources(file: SourceFile, name: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name in it) for each import at the top level of a file that can define a name."""
    head, _, rest = name.partition(".")
    module_name = file.module_name or find_package(file.path).module_name
    for node in reversed(file.tree.body):
        if isinstance(node, ast.ImportFrom):
            base = find_import_base(node, file.path, module_name)
            for alias in node.names:
                if alias.name == "*" and not rest:
                    yield base, name
                elif (alias.asname or alias.name) == head:
                    yield (".".join(filter(None, (base, alias.name))), rest) if rest else (base, alias.name)
        elif isinstance(node, ast.Import) and rest:
            for alias in node.names:
                if alias.asname == head:
                    yield alias.name, rest
                elif alias.asname is None and name.startswith(f"{alias.name}."):
                    yield alias.name, name.removeprefix(f"{alias.name}.")


def find_method(definition: FoundDefinition, method: str) -> FoundDefinition | None:
    """Return a method of a class, its own or that of its first base that has it; None if there is none."""
    if isinstance(definition.node, ast.FunctionDef):
        return None
    own = next((n for n in reversed(definition.node.body) if isinstance(n, ast.FunctionDef) and n.name == method), None)
    return FoundDefinition(definition.file, own) if own else _find_base_method(definition, method)


def _find_base_method(definition: FoundDefinition, method: str) -> FoundDefinition | None:
    assert isinstance(definition.node, ast.ClassDef)
    for base in definition.node.bases:
        name = ast.unparse(base)
        base_class = find_definition(definition.file, name) if name != definition.node.name else None
        inherited = find_method(base_class, method) if base_class else None
        if inherited:
            return inherited
    return None


def read_parameters(definition: FoundDefinition) -> list[SignatureParameter]:
    """Return what a call of a class or function takes, without self, *args and **kwargs.

    A class without a constructor has that of its first base with one. A constructor that passes *args or **kwargs to
    that of a base takes what it takes.
    """
    if isinstance(definition.node, ast.FunctionDef):
        return _read_signature(definition)
    own = read_method_parameters(definition, "__init__") or []
    constructor, inherited = find_method(definition, "__init__"), _find_base_method(definition, "__init__")
    if constructor is None or inherited is None or constructor.node is inherited.node:
        return own
    return [*own, *_select_passed(constructor.node, own, _read_signature(inherited)[1:])]


def _select_passed(
    constructor: Definition, own: Sequence[SignatureParameter], inherited: Sequence[SignatureParameter]
) -> list[SignatureParameter]:
    """Return the parameters of a base's constructor that a constructor takes as *args or **kwargs and passes on."""
    calls = [n for n in ast.walk(constructor) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("__init__")]
    passes_keywords = any(keyword.arg is None for call in calls for keyword in call.keywords)
    passes_values = any(isinstance(argument, ast.Starred) for call in calls for argument in call.args)
    known = {parameter.name for parameter in own}
    needs_none = all(parameter.default is not None for parameter in own)
    return [
        parameter
        for parameter in inherited
        if parameter.name not in known
        and (needs_none and (passes_values or passes_keywords) if parameter.default is None else passes_keywords)
    ]


def read_method_parameters(definition: FoundDefinition, method: str) -> list[SignatureParameter] | None:
    """Return what a call of a class's method takes, as `read_parameters`; None if no such method is found."""
    function = find_method(definition, method)
    return None if function is None else _read_signature(function)[1:]


def takes_any_keyword(definition: FoundDefinition) -> bool:
    """Return whether a function or class has `**kwargs`, which take any further keyword."""
    node = definition.node
    if isinstance(node, ast.ClassDef):
        constructor = find_method(definition, "__init__")
        return (
            constructor is not None
            and isinstance(constructor.node, ast.FunctionDef)
            and bool(constructor.node.args.kwarg)
        )
    return node.args.kwarg is not None


class _AliasResolver(ast.NodeTransformer):
    """Replaces names that a file gives to types, such as `Order = Literal["a", "b"]`, by these types."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the type that a name stands for, or the name."""
        value = find_assignment(self.tree, node.id)
        return value if isinstance(value, ast.Subscript | ast.BinOp) else node


def _read_signature(definition: FoundDefinition) -> list[SignatureParameter]:
    """Return all parameters of a function but *args and **kwargs, a method's self too."""
    assert isinstance(definition.node, ast.FunctionDef)
    resolver = _AliasResolver(definition.file.tree)
    arguments = definition.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [
        SignatureParameter(
            argument.arg,
            ast.unparse(resolver.visit(copy.deepcopy(argument.annotation))) if argument.annotation else "Any",
            default,
            is_keyword=i >= len(positional),
        )
        for i, (argument, default) in enumerate(pairs)
    ]
