"""From a sweep's file to recipes: combinations, further runs, runs left out."""

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli import recipe as recipes
from attncli.errors import CollectedError, UserError
from attncli.recipe import Recipe
from attncli.sweep.form import PLACE, SHORT, Form, Setting, drop_options
from attncli.sweep.order import in_order

Check = Callable[[Mapping[str, Any], str], list[UserError]]
SEEDS = "seeds"


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, each once, in the order in which to run them."""

    name: str
    recipes: tuple[Recipe, ...]


def read(
    path: Path,
    *,
    check: Check,
    categories: Mapping[str, Sequence[str]],
    overrides: Iterable[str] = (),
    axes: Mapping[str, Any] | None = None,
) -> Sweep:
    """The sweep of a YAML file.

    `check(tree, where)` tells the errors of a recipe's tree, `categories` the mechanisms that `{category: NAME}`
    stands for. `axes` replace those of the file; `overrides` ("key=value") hold for every run, whatever the file says.
    Raises CollectedError that lists everything wrong with the file at once.
    """
    form = Form(path, categories)
    sections = form.sections()
    last = _overrides(form, overrides)
    base = form.base(sections.get("recipe"))
    combined, further = _points(form, sections, dict(axes or {}), last)
    trees = _left(form, sections, [_tree(form, base, point, last) for point in combined], strict=not axes and not last)
    trees += [_tree(form, base, point, last) for point in further]
    for tree in _but_for_seeds(trees):
        form.errors += check(tree, str(path))
    if form.errors:
        raise CollectedError(list({e.problem: e for e in form.errors}.values()))
    if not trees:
        raise UserError(f"{path}: no run is left", "exclude fewer, or add to axes")
    return Sweep(path.stem, in_order(map(Recipe.model_validate, trees)))


def _overrides(form: Form, items: Iterable[str]) -> Setting:
    found: Setting = {}
    for item in items:
        try:
            key, value = recipes.parse_override(item)
            found[key] = value
        except UserError as error:
            form.errors += error.parts
    return found


def _points(
    form: Form, sections: Mapping[str, Any], given: dict[str, Any], last: Setting
) -> tuple[list[Setting], list[Setting]]:
    """The settings (of every combination, of every `include`), with each seed; an axis that is overridden is none."""
    axes = form.axes(sections.get("axes")) | given
    axes = {name: values for name, values in axes.items() if SHORT.get(name, name) not in last}
    seeds = form.seeds(axes[SEEDS]) if SEEDS in axes else []
    settings = {name: form.axis(name, values) for name, values in axes.items() if name != SEEDS}
    _clashes(form, settings)
    entries = form.entries(sections.get("include"), "include")
    combined = _combined(settings.values())
    further = [whole for entry in entries for setting in entry for whole in _everywhere(setting, settings)]
    if "seed" in last or not seeds:
        return combined, further
    return _seeded(combined, seeds), _seeded(further, seeds)


def _seeded(points: Iterable[Setting], seeds: Sequence[int]) -> list[Setting]:
    """Each of the points with each seed, or with its own."""
    return [point | {"seed": s} for point in points for s in ([point["seed"]] if "seed" in point else seeds)]


def _combined(axes: Iterable[list[Setting]]) -> list[Setting]:
    """Every combination of the axes' settings."""
    return [{k: v for setting in chosen for k, v in setting.items()} for chosen in itertools.product(*axes)]


def _everywhere(setting: Setting, axes: Mapping[str, list[Setting]]) -> list[Setting]:
    """An included setting with every backbone and on every dataset of the axes, unless it names its own."""
    around = [axes[name] for name in ("backbone", "dataset") if name in axes and SHORT[name] not in setting]
    return [where | setting for where in _combined(around)]


def _clashes(form: Form, settings: Mapping[str, list[Setting]]) -> None:
    """Two axes that set one key would hide each other's values."""
    for (a, first), (b, second) in itertools.combinations(settings.items(), 2):
        for key in {k for s in first for k in s} & {k for s in second for k in s}:
            form.error(f"axes.{a}", f"sets {key}, as axes.{b} does", "leave it to one of them")


def _tree(form: Form, base: Setting, point: Setting, last: Setting) -> Setting:
    """A recipe's tree: the base, the point's values, the command line's."""
    tree = copy.deepcopy(base)
    values = copy.deepcopy(point) | last
    if "model.attn" in values:
        drop_options(tree, values["model.attn"])
    for key, value in values.items():
        try:
            recipes.put(tree, key, value)
        except UserError as error:
            form.error(key, error.problem, error.hint)
    model = tree.get("model")
    if isinstance(model, dict) and model.get("attn", "none") == "none":
        for key in PLACE:
            model.pop(key, None)
    return tree


def _left(form: Form, sections: Mapping[str, Any], trees: list[Setting], *, strict: bool) -> list[Setting]:
    """The trees that `exclude` leaves; with `strict`, an entry that leaves out nothing is an error."""
    out: set[int] = set()
    for number, entry in enumerate(form.entries(sections.get("exclude"), "exclude")):
        hit = {i for i, tree in enumerate(trees) if any(_matches(tree, setting) for setting in entry)}
        if strict and entry and not hit:
            told = ", ".join(f"{key}: {value}" for key, value in entry[0].items()) + " ..." * (len(entry) > 1)
            form.error(f"exclude[{number}]", f"no run has {told}", "mend it or leave it out")
        out |= hit
    return [tree for i, tree in enumerate(trees) if i not in out]


def _matches(tree: Setting, entry: Setting) -> bool:
    """Whether a recipe's tree has every value of an `exclude` entry; of a list, where the key takes none, any."""
    usual = Recipe().model_dump()
    for key, wanted in entry.items():
        value = _at(tree, key, _at(usual, key, None))
        if isinstance(wanted, list) and not isinstance(value, list):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True


def _at(tree: Any, key: str, usual: Any) -> Any:
    """The value at a dotted key, `usual` where there is none."""
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return usual
        tree = tree[part]
    return tree


def _but_for_seeds(trees: Iterable[Setting]) -> list[Setting]:
    """One tree of those that differ in a good seed alone."""
    kept: dict[str, Setting] = {}
    for tree in trees:
        seed = tree.get("seed")
        same = {k: v for k, v in tree.items() if k != "seed"} if type(seed) is int and seed >= 0 else tree
        kept.setdefault(repr(same), tree)
    return list(kept.values())
