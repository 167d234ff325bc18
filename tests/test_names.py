"""One vocabulary: a name means one thing in the package, a function says what it does, no variable is called `found`.

`python -m tests.test_names` prints the figures.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "attncli"
FILES = sorted(PACKAGE.rglob("*.py"))
# Names that every file of a family has, because something finds them by this name.
PROTOCOL = {
    "Attention": "a mechanism's class, attncli/attention/<category>/",
    "build": "makes a backbone's network, attncli/backbones/; model.build a recipe's",
    "find_structure": "returns the structure of a backbone's network",
    "join": "replaces the sum of a backbone's block",
    "command": "a file of attncli/commands/",
    "read": "reads a dataset's files, attncli/data/datasets/",
    "load": "imports a mechanism, backbone or dataset by its name",
    "main": "is called by `python -m`",
}
# They say that something was computed, and not what.
VAGUE_VARIABLES = {"found", "told", "made", "there", "whole", "held", "done", "asked", "left", "said", "given", "kept"}
VAGUE_LIMIT = 150
ONE_WORD_LIMIT = 0.35
MAX_MODULES = 2  # in which one function name may stand at top level


@cache
def parse_file(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def walk_definitions() -> Iterator[tuple[Path, ast.AST, bool]]:
    """Yield (file, node, whether it stands at top level) for every node of the package."""
    for path in FILES:
        tree = parse_file(path)
        top_level = set(map(id, tree.body))
        for node in ast.walk(tree):
            yield path, node, id(node) in top_level


def count_words(name: str) -> int:
    """Number of words of a snake_case name."""
    return len([word for word in name.strip("_").split("_") if word])


def collect_names(kind: type[ast.AST]) -> dict[str, set[str]]:
    """The modules in which each top-level class or function name stands; a leading underscore does not count."""
    modules: dict[str, set[str]] = defaultdict(set)
    for path, node, is_top_level in walk_definitions():
        if is_top_level and isinstance(node, kind):
            name = node.name.lstrip("_")  # type: ignore[attr-defined]
            if name not in PROTOCOL:
                modules[name].add(str(path.relative_to(PACKAGE)))
    return modules


def one_word_share() -> float:
    """Share of the functions and methods (dunder methods left out) whose name is one word."""
    names = [
        node.name
        for _, node, _ in walk_definitions()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__")
    ]
    return sum(count_words(name) == 1 for name in names) / len(names)


def count_vague_variables() -> Counter[str]:
    """How often each vague word is a variable."""
    return Counter(n.id for _, n, _ in walk_definitions() if isinstance(n, ast.Name) and n.id in VAGUE_VARIABLES)


def test_a_class_name_stands_in_one_module() -> None:
    """No two classes of the package share a name."""
    assert {name: where for name, where in collect_names(ast.ClassDef).items() if len(where) > 1} == {}


def test_a_function_name_stands_in_two_modules_at_most() -> None:
    """No top-level function name stands in three modules, except the names of a protocol."""
    repeated = {name: where for name, where in collect_names(ast.FunctionDef).items() if len(where) > MAX_MODULES}
    assert repeated == {}


def test_functions_have_a_verb_and_an_object() -> None:
    """Most function names have two words or more."""
    assert one_word_share() < ONE_WORD_LIMIT


def test_variables_say_what_they_hold() -> None:
    """Few variables are called by a word that says nothing."""
    assert sum(count_vague_variables().values()) < VAGUE_LIMIT


def read_imports() -> dict[str, set[str]]:
    """The modules of the package that each module imports, also inside functions and under TYPE_CHECKING."""
    dotted = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in FILES}
    names = {re.sub(r"\.__init__$", "", name): p for name, p in dotted.items()}
    graph = {}
    for name, path in names.items():
        imported = set()
        for node in ast.walk(parse_file(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    imported |= {m for m in (f"{node.module}.{alias.name}", node.module) if m in names} - {name}
                    if f"{node.module}.{alias.name}" in names:
                        imported.discard(node.module)  # a package's own file is not a use of the package
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names if alias.name in names} - {name}
        graph[name] = imported
    return graph


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other in a circle, or an empty list."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in finished:
            return []
        for other in sorted(graph[name]):
            if circle := visit(other, [*path, name]):
                return circle
        finished.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports form no circle, wherever they stand in a file."""
    assert find_circle(read_imports()) == []


@pytest.mark.parametrize(
    ("graph", "circle"),
    [({"a": {"b"}, "b": {"c"}, "c": set()}, []), ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c"])],
)
def test_a_circle_is_found(graph: dict[str, set[str]], circle: list[str]) -> None:
    """The search for circles finds one if there is one."""
    assert find_circle(graph) == circle


if __name__ == "__main__":
    print(f"one-word functions: {one_word_share():.0%}")
    print(f"vague variables: {sum(count_vague_variables().values())}")
    print(f"circle: {find_circle(read_imports())}")
