"""Names of runs that stand beside each other: those of one name get the settings in which they differ."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from attncli.dataset_catalog import has_origin
from attncli.recipe import Recipe
from attncli.track.tags import format_run_name, format_value, name_images

NOT_SETTINGS = ("seed", "data.name", "data.root", "data.decoded")  # the images are named in their place
RUN_NAME_TAG = "mlflow.runName"
MOST_LETTERS = 40  # of a value


def distinguish_names(recipes: Sequence[Recipe]) -> list[str]:
    """Return the name of each run; of those that share one with the keys in which they differ.

    So two learning rates are eca-resnet18-s0[lr=0.1] and eca-resnet18-s0[lr=0.3], two datasets
    eca-resnet18-s0[images=digits] and eca-resnet18-s0[images=cifar10], and two folders of one name
    eca-resnet18-s0[images=a/photos] and eca-resnet18-s0[images=b/photos].
    """
    names = [format_run_name(recipe) for recipe in recipes]
    numbers_by_name: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        numbers_by_name[name].append(number)
    for name, numbers in numbers_by_name.items():
        if len(numbers) > 1:
            for number, settings in zip(numbers, _list_differences([recipes[n] for n in numbers]), strict=True):
                names[number] = f"{name}[{settings}]" if settings else name
    return names


def _list_differences(recipes: Sequence[Recipe]) -> list[str]:
    """Return for each recipe the keys in which not all of them agree, with its values."""
    settings = [
        {"images": images, **_list_settings(recipe)}
        for images, recipe in zip(_name_images_apart(recipes), recipes, strict=True)
    ]
    differing = [key for key in settings[0] if any(other[key] != settings[0][key] for other in settings)]
    return [_join_settings({key: own[key] for key in differing}) for own in settings]


def _join_settings(settings: Mapping[str, Any]) -> str:
    """Return values by key; those that are not set are left out, unless there are no others."""
    shown = {key: value for key, value in settings.items() if value is not None} or settings
    return ",".join(f"{key.rpartition('.')[2]}={_shorten(value)}" for key, value in shown.items())


def _list_settings(recipe: Recipe) -> dict[str, Any]:
    return {
        key: value
        for key, value in recipe.flatten_keys().items()
        if key not in NOT_SETTINGS and not key.startswith("measure.")
    }


def _name_images_apart(recipes: Sequence[Recipe]) -> list[str]:
    """Return the name of each recipe's images, for the user's folders of one name with the folders that differ."""
    names = [name_images(recipe) for recipe in recipes]
    roots_by_name: dict[str, set[str]] = defaultdict(set)
    for name, recipe in zip(names, recipes, strict=True):
        if recipe.data.root and has_origin(recipe.data.name, "user"):
            roots_by_name[name].add(recipe.data.root)
    return [
        name if len(roots_by_name[name]) < 2 else _drop_common_folders(recipe.data.root or name, roots_by_name[name])
        for name, recipe in zip(names, recipes, strict=True)
    ]


def _drop_common_folders(root: str, roots: Iterable[str]) -> str:
    """Return a path without the folders that it begins with as all others do."""
    all_parts = [Path(other).parts[:-1] for other in roots]
    common = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*all_parts, strict=False)))
    return str(Path(*Path(root).parts[common:]))


def _shorten(value: Any) -> str:
    text = format_value(value)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
