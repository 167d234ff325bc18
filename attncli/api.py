"""The Python interface: build networks, load trained ones, and get runs and comparisons as DataFrames.

    import attncli

    net = attncli.build("resnet50", "eca")            # attncli.api.build
    trained = attncli.load("eca-resnet18-s0")         # attncli.api.load
    frame = attncli.runs()                            # attncli.api.list_runs
    table = attncli.compare(backbone="resnet18")      # attncli.api.compare
    recipe = attncli.recipe("cifar", attn="simam")    # attncli.api.read_recipe

`attncli help python-api` shows them at work. Nothing is imported before the first call, and nothing is printed.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from attncli.recipe import Recipe
    from attncli.runs import RunStore
    from attncli.trained import TrainedNetwork

RUNS = "runs"  # the default folder of runs
LARGE_SIDE = 64  # px; from here on a network has ImageNet's classes by default


def build(
    backbone: str,
    attn: str = "none",
    *,
    classes: int | None = None,
    image_size: int | tuple[int, int] = 224,
    seed: int = 0,
    runs: str | Path = RUNS,
    **model_keys: Any,
) -> "nn.Module":
    """Return a network: images (N, 3, H, W), normalised, to logits (N, classes).

    Args:
        backbone: A name of `attncli ls backbones`.
        attn: A name of `attncli ls mechanisms`, or the path of a .py file.
        classes: Number of classes; by default 1000 from 64 px, else 10.
        image_size: Side of the images in pixels, or (height, width). Below 64 the network gets the stem for small
            images.
        seed: Seed of the random weights; with one seed all mechanisms share the backbone's.
        runs: The folder in which a run is looked up that `pretrained` names.
        model_keys: Other keys of a recipe's section `model`: options, site, stages, blocks, replace, pretrained.

    Raises:
        attncli.errors.UserError: An unknown name or key, a wrong number, or the mechanism does not fit.
    """
    from attncli import model, validation
    from attncli.runs import locate_pretrained_run

    keys = _convert_values(model_keys)
    if isinstance(keys.get("pretrained"), str):
        keys["pretrained"] = locate_pretrained_run(Path(runs), keys["pretrained"])
    network = _convert_values({"model.backbone": backbone, "model.attn": attn, "seed": seed})
    size = _read_image_size(image_size)
    class_count = (1000 if max(size) >= LARGE_SIDE else 10) if classes is None else _check_count("classes", classes)
    _refuse_options_as_keys(network["model.attn"], keys)
    recipe = validation.read(values=network | {f"model.{key}": value for key, value in keys.items()})
    return model.build(recipe, model.InputSpec(class_count, size))


def _refuse_options_as_keys(attn: Any, keys: Mapping[str, Any]) -> None:
    """Raise UserError if an option of the mechanism is given as a keyword, such as build("resnet20", "eca", k=3)."""
    from attncli.attention import NONE, describe_mechanism

    own_options = {} if not isinstance(attn, str) or attn == NONE else describe_mechanism(attn).options
    for name in sorted(keys.keys() & own_options.keys()):
        raise UserError(f"{name}: an option of '{attn}'", f"options={{'{name}': {keys[name]!r}}}")


def _read_image_size(image_size: Any) -> tuple[int, int]:
    """Return (height, width). Raises UserError for anything but a side or two."""
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(sides) != 2:
        raise UserError(f"image_size: {image_size!r} is not allowed", "allowed: a side, or (height, width)")
    return _check_count("image_size", sides[0]), _check_count("image_size", sides[1])


def _check_count(name: str, value: Any) -> int:
    """Return a whole number above 0. Raises UserError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name}: {value!r} is not allowed", "allowed: a whole number above 0")
    return value


def _convert_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as recipes hold them: paths as text, tuples as lists, also within lists and mappings."""
    return {key: _convert_value(value) for key, value in values.items()}


def _convert_value(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_convert_value(item) for item in value]
    return _convert_values(value) if isinstance(value, Mapping) else value


def load(run: str | Path, *, runs: str | Path = RUNS) -> "TrainedNetwork":
    """Return the network of a finished run with its classes and normalisation, on the CPU in eval mode.

    If several runs have the name the latest is loaded, with a warning that names the others.

    `trained.net` takes normalised images, `attncli.trained.ImageClassifier(trained)` images from 0 to 1.

    Args:
        run: Name, digest or folder of a run, or a file of `attncli export --to safetensors`.
        runs: The folder of runs.

    Raises:
        attncli.errors.UserError: There is no such run, or it is not finished.
    """
    from attncli.runs import find_run_folder
    from attncli.trained import load_trained_network
    from attncli.trained.export import load_exported

    if Path(run).suffix == ".safetensors":
        return load_exported(Path(run))
    return load_trained_network(find_run_folder(Path(runs), str(run), lambda line: warnings.warn(line, stacklevel=3)))


def list_runs(runs: str | Path = RUNS, *, tracking_uri: str | None = None) -> "pd.DataFrame":
    """Return the finished runs, one row per run: its name, images, results, and every key of its recipe as recipe.KEY.

    Args:
        runs: The folder of runs.
        tracking_uri: The MLflow store; by default that of the folder.

    Raises:
        attncli.errors.UserError: There is no such folder, or the store does not answer.
    """
    import pandas as pd

    from attncli.recipe import Recipe
    from attncli.records import Result
    from attncli.runs import read_finished_runs
    from attncli.track.run_names import distinguish_names

    finished_runs = read_finished_runs(_open_store(runs, tracking_uri), _warn_of_unreadable_runs)
    names = distinguish_names([run.recipe for run in finished_runs])
    rows = [
        {"name": name, "images": run.images}
        | {key: value for key, value in vars(run.result).items() if key != "machine"}
        | {f"recipe.{key}": value for key, value in run.recipe.flatten_keys().items()}
        for name, run in zip(names, finished_runs, strict=True)
    ]
    result_columns = [name for name in Result.__dataclass_fields__ if name != "machine"]
    columns = ["name", "images", *result_columns, *(f"recipe.{key}" for key in Recipe().flatten_keys())]
    return pd.DataFrame(rows, columns=columns)


def _warn_of_unreadable_runs(error: UserError) -> None:
    warnings.warn(f"{error.problem}; {error.hint}", stacklevel=4)  # of who called the function of this module


def _open_store(runs: str | Path, tracking_uri: str | None) -> "RunStore":
    """Return the store of a folder of runs. Raises UserError if the folder was named and is not there."""
    from attncli.runs import RunStore

    folder = Path(runs)
    if tracking_uri is None and not folder.is_dir() and (folder.exists() or str(runs) != RUNS):
        raise UserError(f"{folder}: no folder of runs", f"give the folder that --runs named, by default {RUNS}")
    return RunStore(folder, tracking_uri)


def compare(
    runs: str | Path = RUNS,
    *,
    dataset: str | None = None,
    backbone: str | None = None,
    attn: str | Sequence[str] | None = None,
    recipe: str | Path | None = None,
    sweep: str | Path | None = None,
    since: str | None = None,
    margin: float = 0.5,
    tracking_uri: str | None = None,
) -> "pd.DataFrame":
    """Return the comparison of finished runs, one row per variant, as `attncli compare --json` prints it.

    Args:
        runs: The folder of runs.
        dataset: Only runs on this dataset.
        backbone: Only runs with this backbone.
        attn: Only these mechanisms and their baseline.
        recipe: Only runs trained as this recipe says, a name or a file.
        sweep: Only runs of this sweep, a name or a file.
        since: Only runs that began on this day or later, such as 2026-11-29.
        margin: The smallest difference that matters, in points.
        tracking_uri: The MLflow store; by default that of the folder.

    Raises:
        attncli.errors.UserError: There is no such folder, no run has what was asked for, the margin is not above 0, or
            the store does not answer.
    """
    import pandas as pd

    from attncli.analysis.compare import compare_variants
    from attncli.analysis.run_filter import read_run_filter
    from attncli.runs import read_failed_runs, read_finished_runs

    folder = Path(runs)
    run_filter = read_run_filter(
        dataset=dataset, backbone=backbone, attn=attn, recipe=recipe, sweep=sweep, since=since, runs=folder
    )
    finished_runs = read_finished_runs(_open_store(runs, tracking_uri), _warn_of_unreadable_runs)
    run_filter.refuse_unknown_names(finished_runs)
    failed_runs = read_failed_runs(folder, _warn_of_unreadable_runs)
    rows = compare_variants(finished_runs, margin=margin / 100, failures=failed_runs)
    return pd.DataFrame([row.to_json_dict() for row in run_filter.select_rows(rows)])


def read_recipe(
    name: str | Path | None = None, *overrides: str | Mapping[str, Any], runs: str | Path = RUNS, **shortcuts: Any
) -> "Recipe":
    """Return the checked recipe of a name or file with changes, as `attncli run` reads it.

    Args:
        name: A name of `attncli recipe ls`, the path of a YAML file, or None for the defaults.
        overrides: Settings such as "train.lr=0.05", {"train.lr": 0.05} or {"train": {"lr": 0.05}}, which leaves the
            other keys of the section as they are. Later ones win, texts win over mappings, and both win over shortcuts.
        runs: The folder in which a run is looked up that `pretrained` or model.pretrained names.
        shortcuts: attn, backbone, dataset, data_root, image_size, epochs, seed, pretrained.

    Raises:
        attncli.errors.UserError: An unknown recipe, or everything that is wrong with its keys.
        TypeError: An unknown shortcut.
    """
    from attncli import validation
    from attncli.recipe import find_recipe_file, find_recipe_key, split_section
    from attncli.runs import locate_pretrained_run, resolve_pretrained_runs
    from attncli.shortcuts import SHORTCUT_KEYS

    for word in sorted(shortcuts.keys() - SHORTCUT_KEYS.keys()):
        key = find_recipe_key(word)
        hint = f'write "{key}={shortcuts[word]}"' if key else f"known: {', '.join(SHORTCUT_KEYS)}"
        raise TypeError(f"recipe() has no keyword '{word}'; {hint}")
    values = {SHORTCUT_KEYS[key]: value for key, value in shortcuts.items()}
    for changes in overrides:
        for key, value in changes.items() if isinstance(changes, Mapping) else ():
            values |= split_section(key, value)
    values = _convert_values(values)
    if isinstance(values.get("model.pretrained"), str):
        values["model.pretrained"] = locate_pretrained_run(Path(runs), values["model.pretrained"])
    file = None if name is None else find_recipe_file(Path(name))
    texts = resolve_pretrained_runs([item for item in overrides if not isinstance(item, Mapping)], Path(runs))
    return validation.read(file, texts, values)
