"""The form of a sweep's file: its sections, axes and entries, as settings of recipe keys; all errors gathered."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attncli import recipe as recipes
from attncli.errors import UserError, nearest

Setting = dict[str, Any]  # values by dotted key

SECTIONS = ("recipe", "axes", "include", "exclude")
PLACE = ("options", "site", "stages", "blocks")  # of a mechanism
SHORT = {
    "attn": "model.attn",
    "backbone": "model.backbone",
    "dataset": "data.name",
    "seed": "seed",
    **{key: f"model.{key}" for key in PLACE},
}
AXES = ("attn", "backbone", "dataset", "seeds")
CATEGORY = "category"
EXAMPLE = "for example {attn: eca, options: {k: 3}}"


class Form:
    """Reads the sections of the file `path`; `errors` gathers what is wrong, and reading goes on.

    `categories` are the mechanisms that `{category: NAME}` stands for.
    """

    def __init__(self, path: Path, categories: Mapping[str, Sequence[str]]) -> None:
        self.errors: list[UserError] = []
        self._path = path
        self._categories = categories

    def error(self, place: str, problem: str, hint: str = "") -> None:
        """Note what is wrong at a place of the file."""
        self.errors.append(UserError(f"{self._path}: {place}: {problem}", hint))

    def sections(self) -> dict[str, Any]:
        """The file's tree. Raises UserError where it can't be read at all."""
        tree = recipes.load_yaml(self._path)
        for key in tree.keys() - set(SECTIONS):
            self.error(str(key), "unknown key", nearest(str(key), SECTIONS))
        return tree

    def base(self, given: Any) -> Setting:
        """The base recipe's tree: its own keys over those of the file that `base` names."""
        own = copy.deepcopy(self._mapping(given, "recipe", "recipe: {base: FILE, train: {epochs: 10}}"))
        base = own.pop("base", None)
        if base is None:
            return own
        try:
            return merged(recipes.load_yaml(self._path.parent / str(base)), own)
        except UserError as error:
            self.error("recipe.base", error.problem, error.hint)
            return own

    def axes(self, given: Any) -> dict[str, Any]:
        """The axes by name, unread."""
        return {str(k): v for k, v in self._mapping(given, "axes", "axes: {attn: [se, eca], seeds: 3}").items()}

    def _mapping(self, given: Any, place: str, hint: str) -> dict[str, Any]:
        if given is not None and not isinstance(given, dict):
            self.error(place, "not a mapping", hint)
        return given if isinstance(given, dict) else {}

    def seeds(self, given: Any) -> list[int]:
        """The seeds of a number of seeds or a list."""
        if type(given) is int and given > 0:
            return list(range(given))
        if not isinstance(given, list) or not given or any(type(s) is not int or s < 0 for s in given):
            self.error("axes.seeds", f"{given!r} is not allowed", "allowed: how many, or a list such as [0, 1, 2]")
            return []
        self._once("axes.seeds", given)
        return list(given)

    def axis(self, name: str, values: Any) -> list[Setting]:
        """The settings an axis goes through; a single empty one where it is not in order."""
        if name not in AXES and "." not in name:
            full = f"write {SHORT[name]}" if name in SHORT else nearest(name, AXES)
            self.error(f"axes.{name}", "unknown axis", "write seeds" if name == "seed" else full)
        elif not isinstance(values, list) or not values:
            self.error(f"axes.{name}", "not a list of values", f"{name}: [...]")
        else:
            self._once(f"axes.{name}", values)
            if name not in AXES:
                return [{name: value} for value in values]
            found = [s for i, value in enumerate(values) for s in self._value(name, value, f"axes.{name}[{i}]")]
            return found or [{}]
        return [{}]

    def _once(self, place: str, values: Sequence[Any]) -> None:
        for i, value in enumerate(values):
            if value in values[:i]:
                self.error(place, f"{value!r} stands twice", "leave one out")

    def _value(self, name: str, value: Any, place: str) -> list[Setting]:
        """The settings of one value of a named axis: a plain one, or a mapping of keys."""
        if not isinstance(value, dict):
            return [{SHORT[name]: value}]
        found = self._setting(value, place)
        if found and SHORT[name] not in found[0]:
            self.error(place, f"says no {name}", EXAMPLE)
        return found

    def entries(self, given: Any, section: str) -> list[list[Setting]]:
        """The settings of each entry that `include` or `exclude` lists: one for each mechanism that it names."""
        if given is not None and not isinstance(given, list):
            self.error(section, "not a list", f"{section}: [{{attn: vit, train.lr: 1e-3}}]")
        entries = given if isinstance(given, list) else []
        return [self._setting(entry, f"{section}[{i}]") for i, entry in enumerate(entries)]

    def _setting(self, entry: Any, place: str) -> list[Setting]:
        """The settings of a mapping of short and dotted keys: one for each mechanism that it names."""
        if not isinstance(entry, dict) or not entry:
            self.error(place, f"{entry!r} is not a mapping of keys", EXAMPLE)
            return []
        found: Setting = {}
        for key, value in ((str(k), v) for k, v in entry.items() if k != CATEGORY):
            if key not in SHORT and "." not in key:
                self.error(place, f"unknown key '{key}'", nearest(key, (*SHORT, CATEGORY)))
            else:
                found[SHORT.get(key, key)] = value
        attn = found.get(SHORT["attn"])
        names = self._category(entry[CATEGORY], place) if CATEGORY in entry else attn
        if isinstance(names, list | tuple):
            return [found | {SHORT["attn"]: name} for name in names]
        return [found] if found else []

    def _category(self, name: Any, place: str) -> tuple[str, ...]:
        if name not in self._categories:
            self.error(place, f"unknown category: '{name}'", nearest(str(name), self._categories))
            return ()
        return tuple(self._categories[name])


def merged(below: Setting, above: Mapping[str, Any]) -> Setting:
    """Two recipe trees, section by section; a mechanism that takes another's place does not take its options."""
    out = copy.deepcopy(below)
    for section, values in above.items():
        if isinstance(values, dict) and isinstance(out.get(section), dict):
            if section == "model":
                drop_options(out, values.get("attn", out["model"].get("attn")))
            out[section] |= values
        else:
            out[section] = values
    return out


def drop_options(tree: Setting, attn: Any) -> None:
    """Remove the options of a recipe's tree if they are those of another mechanism than `attn`."""
    model = tree.get("model")
    if isinstance(model, dict) and model.get("attn") != attn:
        model.pop("options", None)
