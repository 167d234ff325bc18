"""YAML as recipes use it: numbers as in YAML 1.2, no key twice, errors with their line."""

import re
from pathlib import Path
from typing import Any

import yaml

from attncli.errors import UserError


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds. Raises UserError for an unreadable file, bad YAML or a doubled key."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_RecipeYamlLoader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "`attncli ls recipes` lists recipes") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {_describe_yaml_error(error)}", "mend the file") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of sections", "such as data, model, train, measure")
    return tree


def parse_override(item: str) -> tuple[str, Any]:
    """`train.lr=1e-3` -> ("train.lr", 0.001): split at the first `=`, the value read as YAML."""
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {item}: not of the form key=value", "for example --set train.lr=0.05")
    try:
        return key.strip(), yaml.load(text, Loader=_RecipeYamlLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(
            f"--set {item}: the value is not valid YAML: {_describe_yaml_error(error)}", "quote it"
        ) from error


def _describe_yaml_error(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


class _RecipeYamlLoader(yaml.SafeLoader):
    """YAML 1.2's numbers (1e-3 is one), and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, refused where a key stands twice."""
        known_keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in known_keys:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            known_keys.add(key)
        return super().construct_mapping(node, deep=deep)


_RecipeYamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
