"""Facts read from a Python file without running it, so that `ls`, `show` and completion never load torch."""

import ast
import copy
import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli.errors import UserError


@dataclass(frozen=True)
class ConstructorParameter:
    """A parameter of a constructor: its annotation as text and its default (`...` if it has none)."""

    annotation: str
    default: Any

    @property
    def type_text(self) -> str:
        """What it takes, for people: `int`, `fast | slow`, `tuple[avg | max, ...]`."""
        return re.sub(r"Literal\[([^\]]*)\]", lambda m: m[1].replace(", ", " | ").replace("'", ""), self.annotation)


@dataclass(frozen=True)
class SignatureParameter:
    """A parameter as a file writes it: name, annotation as text, expression of the default (None if it has none)."""

    name: str
    annotation: str
    default: ast.expr | None
    is_keyword: bool  # keyword-only


def parse_source(path: Path) -> ast.Module:
    """Return the syntax tree of a file. Raises UserError if it can't be read or is not Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give the path of a readable .py file") from error
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path}{line}: not valid Python ({error})", "fix the file") from error


def locate_error(error: BaseException, path: Path) -> str:
    """Return where in a file an error was raised, as `mine.py, line 8`, or only the path if it was raised elsewhere."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.absolute()]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def find_assignment(tree: ast.Module, name: str) -> ast.expr | None:
    """Return the expression that a module-level name has in the end, or None."""
    for node in reversed(tree.body):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.value
    return None


def list_definitions(tree: ast.Module) -> list[str]:
    """Return the names of the classes and public functions at the top level of a file."""
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and not node.name.startswith("_"))
    ]


def find_definition(tree: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """Return the class or function of this name at the top level of a file, the last of several; or None."""
    definitions = (node for node in reversed(tree.body) if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return next((node for node in definitions if node.name == name), None)


def takes_any_keyword(tree: ast.Module, name: str) -> bool:
    """Return whether the function or class `name` of a file has `**kwargs`, which take any further keyword."""
    node = find_definition(tree, name)
    if isinstance(node, ast.ClassDef):
        node = find_method(tree, name, "__init__")
    return node is not None and node.args.kwarg is not None


def find_method(tree: ast.Module, class_name: str, method: str) -> ast.FunctionDef | None:
    """Return a method of a class, its own or that of its first base in the file that has it; None if there is none."""
    node = find_definition(tree, class_name)
    if not isinstance(node, ast.ClassDef):
        return None
    own = next((n for n in reversed(node.body) if isinstance(n, ast.FunctionDef) and n.name == method), None)
    bases = (base.id for base in node.bases if isinstance(base, ast.Name) and base.id != class_name)
    return own or next((found for base in bases if (found := find_method(tree, base, method))), None)


def read_parameters(tree: ast.Module, name: str) -> list[SignatureParameter] | None:
    """Return what a call of class or function `name` takes, without self, *args and **kwargs; None if there is none.

    A class without a constructor has that of its first base with one, if the base is in the same file.
    """
    node = find_definition(tree, name)
    if isinstance(node, ast.FunctionDef):
        return _read_signature(node, tree)
    if node is None:
        return None
    return read_method_parameters(tree, name, "__init__") or []


def read_method_parameters(tree: ast.Module, class_name: str, method: str) -> list[SignatureParameter] | None:
    """Return what a call of a class's method takes, as `read_parameters`; None if the file has no such method."""
    node = find_method(tree, class_name, method)
    return None if node is None else _read_signature(node, tree)[1:]


class _AliasResolver(ast.NodeTransformer):
    """Replaces names that a file gives to types, such as `Order = Literal["a", "b"]`, by these types."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the type that a name stands for, or the name."""
        value = find_assignment(self.tree, node.id)
        return value if isinstance(value, ast.Subscript | ast.BinOp) else node


def _read_signature(function: ast.FunctionDef, tree: ast.Module) -> list[SignatureParameter]:
    """Return all parameters of a function but *args and **kwargs, a method's self too."""
    resolver = _AliasResolver(tree)
    arguments = function.args
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


def evaluate_default(parameter: SignatureParameter) -> Any:
    """Return the default of a parameter, `...` if it has none: a literal, or a product or quotient such as 1 / 16.

    Raises UserError for a default that is computed in another way.
    """
    node = parameter.default
    if node is None:
        return ...
    try:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            left, right = ast.literal_eval(node.left), ast.literal_eval(node.right)
            return left * right if isinstance(node.op, ast.Mult) else left / right
        return ast.literal_eval(node)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UserError(
            f"line {node.lineno}: the default of '{parameter.name}' is not a literal: {ast.unparse(node)}",
            "write a plain value, as it is read without running the file",
        ) from error
