"""Facts read from a Python file without running it, so that `ls`, `show` and completion never load torch."""

import ast
import re
import tokenize
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


def read_source(path: Path) -> str:
    """Return the text of a Python file, in the encoding that its mark or its first lines say, as Python reads it."""
    with tokenize.open(path) as file:
        return file.read()


def parse_source(path: Path) -> ast.Module:
    """Return the syntax tree of a file. Raises UserError if it can't be read or is not Python."""
    try:
        return ast.parse(read_source(path), filename=str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give the path of a readable .py file") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
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
