"""The one reader and writer of YAML: numbers as in YAML 1.2, no key twice, errors with their line."""

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from attncli.errors import UserError
from attncli.system.files import read_user_text

try:
    from yaml import CSafeDumper as _SafeDumper
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml: the same, more slowly
    from yaml import SafeDumper as _SafeDumper  # type: ignore[assignment]
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


QUOTES_AND_BRACKETS = ("'", '"', "[", "{", "!", "|", ">", "&")
COLOUR_AS_COMMENT = re.compile(r"background['\"]?:[ \t]+#[0-9a-fA-F]")
MERGE_TAG = "tag:yaml.org,2002:merge"  # of the key <<, whose mappings are merged into the one that it stands in


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises yaml.YAMLError, also if a key stands twice in a mapping, or if a value contains itself.
    """
    try:
        value = yaml.load(text, Loader=_Yaml12Loader)  # a safe loader
    except (AttributeError, ValueError, TypeError, OverflowError) as error:  # !!timestamp and !!int of another text
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error
    _refuse_cycle(value, set(), set())
    return value


def _refuse_cycle(value: Any, outer: set[int], checked: set[int]) -> None:
    """Raise yaml.YAMLError if a list or mapping contains itself, which an anchor within it can do."""
    if not isinstance(value, dict | list) or id(value) in checked:
        return
    if id(value) in outer:
        raise yaml.YAMLError("a value contains itself")
    outer.add(id(value))
    for item in value.values() if isinstance(value, dict) else value:
        _refuse_cycle(item, outer, checked)
    outer.remove(id(value))
    checked.add(id(value))


def compose_yaml(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, which know their line and column. Raises yaml.YAMLError."""
    return yaml.compose(text, Loader=_Yaml12Loader)


def format_yaml(value: Any) -> str:
    """Return a value as YAML that `parse_yaml` reads back, keys in their order."""
    return yaml.dump(value, Dumper=_Yaml12Dumper, sort_keys=False, allow_unicode=True)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds, empty for an empty file.

    Raises UserError if the file cannot be read, is not valid YAML, or is not a mapping.
    """
    try:
        own = path / "recipe.yaml"  # os.path, as Path.is_file raises for names that are too long
        hint = f"its recipe is {own}" if os.path.isfile(own) else "`attncli recipe ls` lists recipes"
        text = read_user_text(path, hint)
        tree = parse_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {describe_yaml_error(error)}", suggest_yaml_fix(error)) from error
    if COLOUR_AS_COMMENT.search(text):
        raise UserError(f"{path}: background: a # begins a comment in YAML", "put the colour in quotes: '#ff0000'")
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of sections", "such as data, model, train, measure")
    return tree


def parse_override(item: str) -> tuple[str, Any]:
    """Split `train.lr=1e-3` at the first `=` and read the value as YAML: ("train.lr", 0.001). Raises UserError.

    A # begins no comment here: `data.background=#ff0000` is a colour.
    """
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {item}: not of the form key=value", "for example --set train.lr=0.05")
    try:
        item.encode()
        value = parse_yaml(text)
        is_cut = "#" in text and not text.lstrip().startswith(QUOTES_AND_BRACKETS)
        return key.strip(), text.strip() if is_cut and not isinstance(value, dict | list) else value
    except UnicodeEncodeError as error:
        raise UserError(f"--set {item}: not valid UTF-8", "type it again") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(
            f"--set {item}: the value is not valid YAML: {describe_yaml_error(error)}", "put it in quotes"
        ) from error


def describe_yaml_error(error: Exception) -> str:
    """Return the place and the cause of a YAML error in one line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def suggest_yaml_fix(error: Exception) -> str:
    """Return the hint for a YAML error: tabs are the usual cause of a character that can begin nothing."""
    is_token = "cannot start any token" in describe_yaml_error(error)
    return "use spaces where the line has a tab, and quotes around % @ and `" if is_token else "fix the file"


class _Yaml12Loader(_SafeLoader):
    """Read 1e-3 as a number and a date as text, as YAML 1.2 does; refuse a mapping with a key that stands twice."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace `<<` in a node by the keys of its mappings: the node's own keys win, then those of the first mapping.

        PyYAML's own choice between mappings with the same key differs by version. Raises ConstructorError if a key
        stands twice.
        """
        sources = [value_node for key_node, value_node in node.value if key_node.tag == MERGE_TAG]
        node.value = [pair for pair in node.value if pair[0].tag != MERGE_TAG]
        known_keys: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self._construct_key(key_node)
            if key in known_keys:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            known_keys.add(key)
        for source in sources:
            for mapping in source.value if isinstance(source, yaml.SequenceNode) else [source]:
                self._merge_mapping(node, mapping, known_keys)

    def _merge_mapping(self, node: yaml.MappingNode, source: yaml.Node, known_keys: set[Hashable]) -> None:
        if not isinstance(source, yaml.MappingNode):
            problem = "<< takes a mapping or a list of mappings"
            raise yaml.constructor.ConstructorError(None, None, problem, source.start_mark)
        self.flatten_mapping(source)
        for key_node, value_node in source.value:
            key = self._construct_key(key_node)
            if key not in known_keys:
                known_keys.add(key)
                node.value.append((key_node, value_node))

    def _construct_key(self, node: yaml.Node) -> Hashable:
        key = self.construct_object(node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, f"{key} is no key", node.start_mark)
        return key


class _Yaml12Dumper(_SafeDumper):
    """Put a text such as 1e3 in quotes, as `_Yaml12Loader` would read it as a number."""


_Yaml12Loader.yaml_implicit_resolvers = {
    first_letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first_letter, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}

for _yaml_class in (_Yaml12Loader, _Yaml12Dumper):
    _yaml_class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )
