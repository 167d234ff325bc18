"""Parse a sweep file: its sections, axes and entries become settings of recipe keys; all errors are collected.

pydantic is not used here. Keys are open (any dotted key of a recipe), mechanisms and categories are known only at run
time, and many errors are about several values at once (a value or key that stands twice, an entry without a
mechanism). A model could check the types of the four sections; the rest would be validators like the methods below,
with their errors translated a second time, and without the hints that show an example.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attncli import recipe as recipes
from attncli.errors import UserError, suggest_name

KeyValues = dict[str, Any]  # values by dotted key

SECTIONS = ("recipe", "axes", "include", "exclude")
SHORT_KEYS = {
    "attn": "model.attn",
    "backbone": "model.backbone",
    "dataset": "data.name",
    "seed": "seed",
    **{key: f"model.{key}" for key in recipes.PLACEMENT_KEYS},
}
AXIS_NAMES = ("attn", "backbone", "dataset", "seeds")
KEYS_OF_SECTIONS = {  # what to suggest for a key at the top of a file that belongs in a section
    **{name: f"'axes.{name}'" for name in AXIS_NAMES},
    **{name: f"'recipe.{name}'" for name in recipes.Recipe.model_fields if name != "seed"},
}
MOST_SEEDS = 10_000
CATEGORY = "category"
EXAMPLE = "for example {attn: eca, options: {k: 3}}"


class SweepFileParser:
    """Read the sections of the file `path`; errors are collected in `errors` and do not stop the parser.

    `categories` are the mechanisms that `{category: NAME}` stands for.
    """

    def __init__(self, path: Path, categories: Mapping[str, Sequence[str]]) -> None:
        self.errors: list[UserError] = []
        self._path = path
        self._categories = categories

    def add_error(self, location: str, problem: str, hint: str = "") -> None:
        """Add an error at a location of the file, such as axes.attn[2]."""
        self.errors.append(UserError(f"{self._path}: {location}: {problem}", hint))

    def read_sections(self) -> dict[str, Any]:
        """Return the file's tree. Raises UserError if it cannot be read at all, or holds no key."""
        tree = recipes.load_yaml(self._path)
        if not tree:
            raise UserError(
                f"{self._path}: no key in it", "a sweep has axes, for example axes: {attn: [se, eca], seeds: 3}"
            )
        for key in tree.keys() - set(SECTIONS):
            self.add_error(str(key), "unknown key", suggest_name(str(key), SECTIONS, KEYS_OF_SECTIONS))
        return tree

    def read_base(self, section: Any) -> KeyValues:
        """Return the base recipe's tree: the keys of the file or recipe that `base` names, updated by its own keys."""
        own_values = copy.deepcopy(
            self._require_mapping(section, "recipe", "recipe: {base: NAME, train: {epochs: 10}}")
        )
        base_path = own_values.pop("base", None)
        if base_path is None:
            return own_values
        try:
            base_name = Path(str(base_path))
            is_known = str(base_path) in recipes.list_recipe_files("recipe")
            is_bare = base_name.parent == Path() and (is_known or not base_name.suffix)
            base_file = recipes.find_recipe_file(base_name) if is_bare else self._path.parent / base_name
            base_tree = recipes.load_yaml(base_file)
            if not base_tree:
                raise UserError(f"{base_file}: no key in it", "without a base the defaults are trained")
            return merge_trees(base_tree, own_values)
        except UserError as error:
            self.add_error("recipe.base", error.problem, error.hint)
            return own_values

    def read_axes(self, section: Any) -> dict[str, Any]:
        """Return the axes by name, not parsed yet."""
        return {
            str(name): values
            for name, values in self._require_mapping(section, "axes", "axes: {attn: [se, eca], seeds: 3}").items()
        }

    def _require_mapping(self, content: Any, location: str, hint: str) -> dict[str, Any]:
        if content is not None and not isinstance(content, dict):
            self.add_error(location, "not a mapping", hint)
        return content if isinstance(content, dict) else {}

    def read_seeds(self, content: Any) -> list[int]:
        """Return the list of seeds, from a number of seeds or a list."""
        if type(content) is int and 0 < content <= MOST_SEEDS:
            return list(range(content))
        if not isinstance(content, list) or not content or any(type(seed) is not int or seed < 0 for seed in content):
            hint = f"allowed: a number of seeds up to {MOST_SEEDS:,}, or a list such as [0, 1, 2]"
            self.add_error("axes.seeds", f"{content!r} is not allowed", hint)
            return []
        self._check_unique("axes.seeds", content)
        return list(content)

    def read_axis(self, name: str, values: Any) -> list[KeyValues]:
        """Return one setting per value of an axis; a single empty one if the axis is wrong."""
        if name not in AXIS_NAMES and "." not in name:
            advice = f"write {SHORT_KEYS[name]}" if name in SHORT_KEYS else suggest_name(name, AXIS_NAMES)
            self.add_error(f"axes.{name}", "unknown axis", "write seeds" if name == "seed" else advice)
        elif not isinstance(values, list) or not values:
            self.add_error(f"axes.{name}", "not a list of values", f"{name}: [...]")
        else:
            self._check_unique(f"axes.{name}", values)
            if name not in AXIS_NAMES:
                return [{name: value} for value in values]
            settings = [
                setting
                for index, value in enumerate(values)
                for setting in self._read_axis_value(name, value, f"axes.{name}[{index}]")
            ]
            return settings or [{}]
        return [{}]

    def _check_unique(self, location: str, values: Sequence[Any]) -> None:
        for index, value in enumerate(values):
            if value in values[:index]:
                self.add_error(location, f"{value!r} stands twice", "leave one out")

    def _read_axis_value(self, name: str, value: Any, location: str) -> list[KeyValues]:
        """Return the settings of one value of a named axis: a plain value, or a mapping of keys."""
        if not isinstance(value, dict):
            return [{SHORT_KEYS[name]: value}]
        settings = self._read_entry(value, location)
        if settings and SHORT_KEYS[name] not in settings[0]:
            self.add_error(location, f"has no {name}", EXAMPLE)
        return settings

    def read_entries(self, content: Any, section: str) -> list[list[KeyValues]]:
        """Return the settings of each entry of `include` or `exclude`: one per mechanism that it names."""
        if content is not None and not isinstance(content, list):
            self.add_error(section, "not a list", f"{section}: [{{attn: vit, train.lr: 1e-3}}]")
        entries = content if isinstance(content, list) else []
        return [self._read_entry(entry, f"{section}[{index}]") for index, entry in enumerate(entries)]

    def _read_entry(self, entry: Any, location: str) -> list[KeyValues]:
        """Return the settings of a mapping of short and dotted keys: one per mechanism that it names."""
        if not isinstance(entry, dict) or not entry:
            self.add_error(location, f"{entry!r} is not a mapping of keys", EXAMPLE)
            return []
        setting: KeyValues = {}
        for key, value in ((str(raw_key), content) for raw_key, content in entry.items() if raw_key != CATEGORY):
            if key not in SHORT_KEYS and "." not in key:
                self.add_error(location, f"unknown key '{key}'", suggest_name(key, (*SHORT_KEYS, CATEGORY)))
            else:
                setting[SHORT_KEYS.get(key, key)] = value
        attn = setting.get(SHORT_KEYS["attn"])
        names = self._expand_category(entry[CATEGORY], location) if CATEGORY in entry else attn
        if isinstance(names, list | tuple):
            return [setting | {SHORT_KEYS["attn"]: name} for name in names]
        return [setting] if setting else []

    def _expand_category(self, name: Any, location: str) -> tuple[str, ...]:
        if not isinstance(name, str) or name not in self._categories:
            self.add_error(location, f"unknown category: '{name}'", suggest_name(str(name), self._categories))
            return ()
        return tuple(self._categories[name])


def merge_trees(base: KeyValues, overrides: Mapping[str, Any]) -> KeyValues:
    """Merge two recipe trees section by section; a mechanism that replaces another does not inherit its options."""
    tree = copy.deepcopy(base)
    for section, values in overrides.items():
        if isinstance(values, dict) and isinstance(tree.get(section), dict):
            if section == "model":
                drop_options(tree, values.get("attn", tree["model"].get("attn")))
            tree[section] |= values
        else:
            tree[section] = values
    return tree


def drop_options(tree: KeyValues, attn: Any) -> None:
    """Remove the options from a recipe's tree if they belong to another mechanism than `attn`."""
    model = tree.get("model")
    if isinstance(model, dict) and model.get("attn") != attn:
        model.pop("options", None)
