"""From a sweep file, or a list of mechanisms, to recipes: combinations of the axes, included runs, excluded runs."""

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli import recipe as recipes
from attncli.errors import CollectedError, UserError
from attncli.recipe import PLACEMENT_KEYS, Recipe
from attncli.sweep.ordering import order_recipes
from attncli.sweep.parser import SHORT_KEYS, KeyValues, SweepFileParser, drop_options
from attncli.system.code_reference import label_mechanism_name

RecipeCheck = Callable[[Mapping[str, Any], str], list[UserError]]
SEEDS, ATTN = "seeds", "attn"
COMMAND_LINE = Path("command line")  # where errors are, if there is no file
MOST_NAMES = 5  # in a sweep's name
USUAL_SEEDS = 3  # of a sweep without a file: one seed decides nothing


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, each once, in the order in which to run them."""

    name: str
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True)
class MechanismList:
    """A sweep without a file: some mechanisms, each by the same recipe.

    Args:
        attn: names as in a sweep file's axis, or mappings such as {category: channel}.
        recipe_file: the recipe of every run; the defaults if there is none.
    """

    attn: tuple[str | Mapping[str, str], ...]
    recipe_file: Path | None = None

    @property
    def name(self) -> str:
        """The mechanisms' names, joined; of many the first ones and how many more there are."""
        words = [label_mechanism_name(a) if isinstance(a, str) else "-".join(a.values()) for a in self.attn]
        more = [f"and-{len(words) - MOST_NAMES}-more"] if len(words) > MOST_NAMES else []
        return "-".join([*words[:MOST_NAMES], *more])

    def make_sections(self) -> dict[str, Any]:
        """Return what a sweep file would hold."""
        base = {} if self.recipe_file is None else {"base": str(self.recipe_file.absolute())}
        return {"recipe": base, "axes": {ATTN: list(self.attn), SEEDS: USUAL_SEEDS}}


def read(
    source: Path | MechanismList,
    *,
    check: RecipeCheck,
    categories: Mapping[str, Sequence[str]],
    overrides: Iterable[str] = (),
    axes: Mapping[str, Any] | None = None,
) -> Sweep:
    """Return the sweep of a YAML file, or of a list of mechanisms.

    Args:
        source: the sweep file, or the mechanisms.
        check: returns the errors of a recipe's tree, given the tree and the name of the file.
        categories: the mechanisms that `{category: NAME}` stands for, by category.
        overrides: "key=value" for every run, stronger than the file.
        axes: axes that replace those of the file.

    Raises:
        CollectedError: listing everything that is wrong with the file.
    """
    path = source if isinstance(source, Path) else COMMAND_LINE
    parser = SweepFileParser(path, categories)
    sections = parser.read_sections() if isinstance(source, Path) else source.make_sections()
    fixed_values = _parse_overrides(parser, overrides)
    base_tree = parser.read_base(sections.get("recipe"))
    combined, included = _expand_points(parser, sections, dict(axes or {}), fixed_values)
    trees = _apply_excludes(
        parser,
        sections,
        [_build_tree(parser, base_tree, point, fixed_values) for point in combined],
        strict=not axes and not fixed_values,
    )
    trees += [_build_tree(parser, base_tree, point, fixed_values) for point in included]
    for tree in _deduplicate_seeds(trees):
        parser.errors += check(tree, str(path))
    if parser.errors:
        raise CollectedError(list({error.problem: error for error in parser.errors}.values()))
    if not trees:
        raise UserError(f"{path}: no run is left", "exclude less, or add values to axes")
    name = source.stem if isinstance(source, Path) else source.name
    return Sweep(name, order_recipes(map(Recipe.model_validate, trees)))


def _parse_overrides(parser: SweepFileParser, items: Iterable[str]) -> KeyValues:
    values: KeyValues = {}
    for item in items:
        try:
            values |= recipes.split_section(*recipes.parse_override(item))
        except UserError as error:
            parser.errors += error.single_errors
    return values


def _expand_points(
    parser: SweepFileParser, sections: Mapping[str, Any], replaced_axes: dict[str, Any], fixed_values: KeyValues
) -> tuple[list[KeyValues], list[KeyValues]]:
    """Return the settings of every combination and of every `include`, with each seed; overridden axes are dropped."""
    axes = parser.read_axes(sections.get("axes")) | replaced_axes
    axes = {name: axis_values for name, axis_values in axes.items() if SHORT_KEYS.get(name, name) not in fixed_values}
    seeds = parser.read_seeds(axes[SEEDS]) if SEEDS in axes else []
    settings = {name: parser.read_axis(name, axis_values) for name, axis_values in axes.items() if name != SEEDS}
    _check_clashes(parser, settings)
    entries = parser.read_entries(sections.get("include"), "include")
    combined = _combine_axes(settings.values())
    included = [point for entry in entries for setting in entry for point in _expand_setting(setting, settings)]
    if ATTN in replaced_axes:
        combined, included = _choose_mechanisms(combined, included, settings.get(ATTN, []))
    if "seed" in fixed_values or not seeds:
        return combined, included
    return _add_seeds(combined, seeds), _add_seeds(included, seeds)


def _choose_mechanisms(
    combined: Sequence[KeyValues], included: Sequence[KeyValues], requested: Sequence[KeyValues]
) -> tuple[list[KeyValues], list[KeyValues]]:
    """Return only the requested mechanisms' points; one that `include` has is trained as it says there, and only so."""
    key = SHORT_KEYS[ATTN]
    names = [setting.get(key) for setting in requested]
    included = [point for point in included if point.get(key, names[0]) in names] if names else list(included)
    own_names = [point[key] for point in included if key in point]
    return [point for point in combined if point.get(key) not in own_names], included


def _add_seeds(points: Iterable[KeyValues], seeds: Sequence[int]) -> list[KeyValues]:
    """Return each of the points with each seed, or with its own seed."""
    return [point | {"seed": seed} for point in points for seed in ([point["seed"]] if "seed" in point else seeds)]


def _combine_axes(axes: Iterable[list[KeyValues]]) -> list[KeyValues]:
    """Return every combination of the axes' settings."""
    return [
        {key: value for setting in combination for key, value in setting.items()}
        for combination in itertools.product(*axes)
    ]


def _expand_setting(setting: KeyValues, axes: Mapping[str, list[KeyValues]]) -> list[KeyValues]:
    """Return an included setting with every backbone and dataset of the axes, unless it names its own."""
    alternatives = [axes[name] for name in ("backbone", "dataset") if name in axes and SHORT_KEYS[name] not in setting]
    return [combination | setting for combination in _combine_axes(alternatives)]


def _check_clashes(parser: SweepFileParser, settings: Mapping[str, list[KeyValues]]) -> None:
    """Add an error for two axes that set the same key: one would overwrite the values of the other."""
    for (first_name, first), (second_name, second) in itertools.combinations(settings.items(), 2):
        for key in {name for setting in first for name in setting} & {name for setting in second for name in setting}:
            parser.add_error(f"axes.{first_name}", f"sets {key}, as axes.{second_name} does", "set it in one of them")


def _build_tree(parser: SweepFileParser, base_tree: KeyValues, point: KeyValues, fixed_values: KeyValues) -> KeyValues:
    """Return a recipe's tree: the base, updated by the point's values, then by those of the command line."""
    tree = copy.deepcopy(base_tree)
    values = copy.deepcopy(point) | fixed_values
    if "model.attn" in values:
        drop_options(tree, values["model.attn"])
    for key, value in values.items():
        try:
            recipes.set_dotted_key(tree, key, value)
        except UserError as error:
            parser.add_error(key, error.problem, error.hint)
    model = tree.get("model")
    if isinstance(model, dict) and model.get("attn", "none") == "none":
        for key in PLACEMENT_KEYS:
            model.pop(key, None)
    return tree


def _apply_excludes(
    parser: SweepFileParser, sections: Mapping[str, Any], trees: list[KeyValues], *, strict: bool
) -> list[KeyValues]:
    """Return the trees that `exclude` leaves; if `strict`, an entry that excludes nothing is an error."""
    excluded: set[int] = set()
    for number, entry in enumerate(parser.read_entries(sections.get("exclude"), "exclude")):
        matched = {index for index, tree in enumerate(trees) if any(_has_values(tree, setting) for setting in entry)}
        if strict and entry and not matched:
            description = ", ".join(f"{key}: {value}" for key, value in entry[0].items()) + " ..." * (len(entry) > 1)
            parser.add_error(f"exclude[{number}]", f"no run has {description}", "fix it or remove it")
        excluded |= matched
    return [tree for index, tree in enumerate(trees) if index not in excluded]


def _has_values(tree: KeyValues, entry: KeyValues) -> bool:
    """Return whether a tree has every value of an `exclude` entry; a list means any of its values."""
    defaults = Recipe().model_dump()
    for key, wanted in entry.items():
        value = _get_key(tree, key, _get_key(defaults, key, None))
        if isinstance(wanted, list) and not isinstance(value, list):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True


def _get_key(tree: Any, key: str, default: Any) -> Any:
    """Return the value of a dotted key, or `default` if there is none."""
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return default
        tree = tree[part]
    return tree


def _deduplicate_seeds(trees: Iterable[KeyValues]) -> list[KeyValues]:
    """Return one tree of those that differ only in a valid seed."""
    unique_trees: dict[str, KeyValues] = {}
    for tree in trees:
        seed = tree.get("seed")
        comparable = (
            {key: value for key, value in tree.items() if key != "seed"} if type(seed) is int and seed >= 0 else tree
        )
        unique_trees.setdefault(repr(comparable), tree)
    return list(unique_trees.values())
