"""The Python interface: build networks, load trained ones, and get runs and comparisons as DataFrames.

    import attncli

    net = attncli.build("resnet50", "eca")            # attncli.api.build
    trained = attncli.load("eca-resnet18-s0")         # attncli.api.load
    frame = attncli.runs()                            # attncli.api.list_runs
    table = attncli.compare(backbone="resnet18")      # attncli.api.compare
    recipe = attncli.recipe("cifar", attn="simam")    # attncli.api.read_recipe

`attncli help python-api` shows them at work. Nothing is imported before the first call, and nothing is printed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from attncli.recipe import Recipe
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
        model_keys: Other keys of a recipe's section `model`: options, site, stages, blocks, replace, pretrained.

    Raises:
        attncli.errors.UserError: An unknown name or key, or the mechanism does not fit.
    """
    from attncli import model, validation

    values = {"model.backbone": backbone, "model.attn": attn, "seed": seed}
    recipe = validation.read(values=values | {f"model.{key}": value for key, value in model_keys.items()})
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    count = classes or (1000 if max(size) >= LARGE_SIDE else 10)
    return model.build(recipe, model.InputSpec(count, size))


def load(run: str | Path, *, runs: str | Path = RUNS) -> "TrainedNetwork":
    """Return the network of a finished run with its classes and normalisation, on the CPU in eval mode.

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
    return load_trained_network(find_run_folder(Path(runs), str(run)))


def list_runs(runs: str | Path = RUNS, *, tracking_uri: str | None = None) -> "pd.DataFrame":
    """Return the finished runs, one row per run: its name, results, and every key of its recipe as recipe.KEY.

    Args:
        runs: The folder of runs.
        tracking_uri: The MLflow store; by default that of the folder.

    Raises:
        attncli.errors.UserError: The store does not answer.
    """
    import pandas as pd

    from attncli.runs import RunStore, read_finished_runs
    from attncli.track.tags import format_run_name

    rows = [
        {"name": format_run_name(run.recipe)}
        | {key: value for key, value in vars(run.result).items() if key != "machine"}
        | {f"recipe.{key}": value for key, value in run.recipe.flatten_keys().items()}
        for run in read_finished_runs(RunStore(Path(runs), tracking_uri))
    ]
    return pd.DataFrame(rows)


def compare(
    runs: str | Path = RUNS,
    *,
    dataset: str | None = None,
    backbone: str | None = None,
    attn: Sequence[str] | None = None,
    margin: float = 0.5,
    tracking_uri: str | None = None,
) -> "pd.DataFrame":
    """Return the comparison of finished runs, one row per variant, as `attncli compare --json` prints it.

    Args:
        runs: The folder of runs.
        dataset: Only runs on this dataset.
        backbone: Only runs with this backbone.
        attn: Only these mechanisms and their baseline.
        margin: The smallest difference that matters, in points.
        tracking_uri: The MLflow store; by default that of the folder.

    Raises:
        attncli.errors.UserError: The store does not answer.
    """
    import pandas as pd

    from attncli.analysis.compare import compare_variants
    from attncli.runs import RunStore, read_finished_runs

    wanted_names = None if attn is None else {"none", *([attn] if isinstance(attn, str) else attn)}
    finished_runs = [
        run
        for run in read_finished_runs(RunStore(Path(runs), tracking_uri))
        if run.is_on(dataset)
        and backbone in (None, run.recipe.model.backbone_label)
        and (wanted_names is None or run.result.attn in wanted_names)
    ]
    return pd.DataFrame([row.to_json_dict() for row in compare_variants(finished_runs, margin=margin / 100)])


def read_recipe(name: str | Path | None = None, *overrides: str, **shortcuts: Any) -> "Recipe":
    """Return the checked recipe of a name or file with changes, as `attncli run` reads it.

    Args:
        name: A name of `attncli recipe ls`, the path of a YAML file, or None for the defaults.
        overrides: Settings such as "train.lr=0.05".
        shortcuts: attn, backbone, dataset, data_root, image_size, epochs, seed, pretrained.

    Raises:
        attncli.errors.UserError: An unknown recipe, or everything that is wrong with its keys.
        TypeError: An unknown shortcut.
    """
    from attncli import validation
    from attncli.recipe import find_recipe_file
    from attncli.shortcuts import SHORTCUT_KEYS

    if unknown := shortcuts.keys() - SHORTCUT_KEYS.keys():
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SHORTCUT_KEYS)}")
    file = None if name is None else find_recipe_file(Path(name))
    return validation.read(file, overrides, {SHORTCUT_KEYS[key]: value for key, value in shortcuts.items()})
