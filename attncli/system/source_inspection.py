"""Facts read from a Python file without running it, so that `ls`, `show` and completion never load torch."""

import ast
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
    """Return the expression assigned to a module-level name, or None."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.value
    return None


def read_constructor(tree: ast.Module, name: str) -> tuple[list[str], dict[str, ConstructorParameter]] | None:
    """Return (positional, keyword-only parameters) of class `name`'s __init__, or None if there is no such class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
            return read_signature(inits[0]) if inits else ([], {})
    return None


def read_signature(init: ast.FunctionDef) -> tuple[list[str], dict[str, ConstructorParameter]]:
    """Return the parameters of an __init__ after self: names of the positional ones, keyword-only ones with defaults.

    Raises UserError for a default that is not a literal.
    """
    positional = [a.arg for a in (*init.args.posonlyargs, *init.args.args)][1:]
    keyword = {
        a.arg: ConstructorParameter(
            ast.unparse(a.annotation) if a.annotation else "Any",
            _evaluate_literal(a.arg, d) if d is not None else ...,
        )
        for a, d in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    }
    return positional, keyword


def _evaluate_literal(name: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UserError(
            f"line {node.lineno}: the default of '{name}' is not a literal: {ast.unparse(node)}",
            "write a plain value, as it is read without running the file",
        ) from error
