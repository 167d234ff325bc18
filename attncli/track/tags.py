"""What MLflow shows of a run: its name, parameters, tags and a description in Markdown."""

import getpass
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attncli import attention
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.quantities import format_change, format_quantity
from attncli.recipe import Model, Recipe, is_default_late_key
from attncli.records import PLAN_TAG, Result
from attncli.shortcuts import SHORTCUT_KEYS
from attncli.track import literature_notes
from attncli.track.provenance import Provenance, label_mechanism

MAX_PARAM_LENGTH = 6000  # characters; MLflow's limits, beyond which it would refuse or cut
MAX_TAG_LENGTH = 8000
MAX_NAME_LENGTH = 250  # of the column of names in a database
MECHANISM_KEYS = ("backbone", "attn", "options", "site", "stages", "blocks", "replace")  # named in a form of their own


def format_run_name(recipe: Recipe) -> str:
    """Return the run's name, such as eca-resnet18-s0, or ram-s0 if the mechanism is the whole network.

    It includes changed options, as in eca[gamma=3]-resnet18-s0, changed places, as in se@mid/3/4:1-resnet50-s1 (stages
    3 and 4, block 1 of each), other changes of the network, as in eca-resnet18[stem=imagenet]-s0, and the fold, as in
    eca-resnet18-fold2of5-s0. Data and training are not in it: see `attncli.track.run_names`.
    """
    data = recipe.data
    backbone = "" if is_whole_network(recipe) else f"-{recipe.model.backbone_label}{_format_changes(recipe.model)}"
    fold = "" if data.folds is None else f"-fold{data.fold}of{data.folds}"
    return f"{format_mechanism(recipe)}{backbone}{fold}-s{recipe.seed}"


def format_mechanism(recipe: Recipe) -> str:
    """Return the mechanism with its changed options and place, such as eca[gamma=3]@mid/3/4:1."""
    model = recipe.model
    options = _join_settings(model.flatten_options())
    site = f"@built-in-{model.replace}" if model.replace else (model.site and f"@{model.site}") or ""
    blocks = "".join(f":{block}" for block in model.blocks or ())
    placement = "/".join([site, *map(str, model.stages or ())]) + blocks
    return f"{label_mechanism(recipe)}{options}{placement}"


def _format_changes(model: Model) -> str:
    """Return the keys of the network itself that are not at their default, such as [stem=cifar,last_stride=1]."""
    changed = {
        key: value
        for key, value in model.model_dump(exclude=set(MECHANISM_KEYS)).items()
        if value != Model.model_fields[key].default
    }
    if isinstance(model.pretrained, str):
        changed["pretrained"] = Path(model.pretrained).name
    return _join_settings(changed)


def _join_settings(settings: Mapping[str, Any]) -> str:
    """Return values by key in square brackets, or nothing if there are none."""
    text = ",".join(f"{key}={format_value(value)}" for key, value in settings.items())
    return f"[{text}]" if text else ""


def is_whole_network(recipe: Recipe) -> bool:
    """Return whether the mechanism is the whole network, so that the backbone is only what it is compared with."""
    try:
        return attention.is_whole_network(recipe.model.attn)
    except UserError:  # a user-defined file that no longer exists
        return False


def choose_experiment_name(recipe: Recipe) -> str:
    """Return the recipe's experiment, else <images>-<backbone>."""
    return recipe.experiment or f"{name_images(recipe)}-{recipe.model.backbone_label}"


def name_images(recipe: Recipe) -> str:
    """Return the data set's name; for user-defined images the folder's name, for a hub the name there."""
    data = recipe.data
    if data.of and has_origin(data.name, "hub"):
        return data.of.replace("/", "-")
    if data.root and has_origin(data.name, "user"):
        return Path(data.root).name.removesuffix(".parquet") or data.name  # the root of the disk has no name
    return data.name


def flatten_params(recipe: Recipe) -> dict[str, str]:
    """Return the flat recipe, with every value as `--set` takes it and one key per option of the mechanism.

    A text that looks like another value, such as "2024", is in quotation marks: MLflow has texts only.
    Keys that were added later and are not set are left out, so that older runs have the same parameters.
    """
    flat = {key: value for key, value in recipe.flatten_keys().items() if not is_default_late_key(key, value)}
    flat.pop("model.options")
    flat |= {f"model.options.{key}": value for key, value in recipe.model.flatten_options().items()}
    return {key: _truncate_text(_format_param(value), MAX_PARAM_LENGTH) for key, value in flat.items()}


def _format_param(value: Any) -> str:
    """Return a value as text from which it comes back: a text that JSON would read as a number and so on is quoted."""
    if isinstance(value, str) and _is_json(value):
        return json.dumps(value)
    return format_value(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def format_value(value: Any) -> str:
    """Return a value as a recipe writes it: text as it is, all else as JSON, which YAML includes."""
    return value if isinstance(value, str) else json.dumps(value)


def _truncate_text(text: str, max_length: int) -> str:
    """Return the text; if it is too long, cut it and say how long the whole is and where to find it."""
    if len(text) <= max_length:
        return text
    note = f" ... ({len(text)} characters; whole in recipe.yaml)"
    return text[: max_length - len(note)] + note


def build_run_tags(recipe: Recipe, provenance: Provenance) -> dict[str, str]:
    """Return the tags of a run: what to search and group by, and its provenance."""
    run_tags = {
        "attn": label_mechanism(recipe),
        "backbone": recipe.model.backbone_label,
        "dataset": recipe.data.name,
        "category": find_category(recipe),
        "seed": str(recipe.seed),
        "digest": provenance.digest,
        "group": provenance.group,
        "data_digest": provenance.facts.digest if provenance.facts else "",
        "git.commit": provenance.commit or "",
        "git.dirty": str(provenance.dirty).lower() if provenance.commit else "",
        "attncli.version": provenance.version,
        "machine": json.dumps(provenance.machine) if provenance.machine else "",
        "host": provenance.process.host,
        "pid": str(provenance.process.pid),
        "pid.started": str(provenance.process.started),
        "mlflow.source.name": "attncli",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": provenance.commit or "",
        "mlflow.user": _find_user_name(),
        "mlflow.note.content": format_run_note(recipe, provenance),
    }
    return {key: _truncate_text(value, MAX_TAG_LENGTH) for key, value in run_tags.items() if value}


def build_condition_tags(result: Result | None) -> dict[str, str]:
    """Return the tags that say under which conditions a finished run was trained; {} for a run without a result."""
    if result is None:
        return {}
    values = {
        "precision": result.precision,
        "device": result.device,
        "code": result.code,
        PLAN_TAG: result.planned_seeds,
    }
    return {key: str(value) for key, value in values.items() if value is not None}


def build_figure_tags(result: Result | None) -> dict[str, str]:
    """Return the figures of a finished run as the dashboard's table shows them, with their units."""
    if result is None or result.test_top1 is None:
        return {}
    overheads = {"params": result.compute_overhead("params"), "MACs": result.compute_overhead("macs")}
    figures = {"top-1": f"{100 * result.test_top1:.2f} %"}
    figures |= {
        name: f"{format_change(value)} %" if value else "0" for name, value in overheads.items() if value is not None
    }
    if result.train_ratio is not None:
        figures["speed"] = f"{result.train_ratio:.2f} x"
    return figures


def find_category(recipe: Recipe) -> str:
    """Return the mechanism's category; `own` if user-defined or no longer there, `none` without one."""
    if recipe.model.attn == attention.NONE:
        return attention.NONE
    try:
        return attention.describe_mechanism(recipe.model.attn).category
    except UserError:
        return "own"


def _find_user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return ""


def format_run_note(recipe: Recipe, provenance: Provenance) -> str:
    """Return Markdown that says what the run is and how to repeat it."""
    subject = (
        f"`{label_mechanism(recipe)}`"
        if is_whole_network(recipe)
        else f"`{label_mechanism(recipe)}` in {recipe.model.backbone_label}"
    )
    if recipe.model.attn == attention.NONE:
        subject = f"{recipe.model.backbone_label} without attention"
    lines = [
        f"**{subject}** on {name_images(recipe)}, {format_quantity(recipe.train.epochs, 'epoch')}, seed {recipe.seed}.",
        "",
    ]
    lines += literature_notes.format_literature_note(recipe.model.attn)
    if provenance.facts:
        dataset_info = provenance.facts
        lines += [
            f"Data: {dataset_info.train} training, {dataset_info.val} validation "
            f"and {format_quantity(dataset_info.test, 'test image')} of "
            f"{dataset_info.size[0]}x{dataset_info.size[1]} px "
            f"in {len(dataset_info.classes)} classes; content `{dataset_info.digest[:12]}`.",
            "",
        ]
    lines += ["To repeat it:", "", "```", format_run_command(recipe), "```", ""]
    lines += ["Its pictures are under Artifacts; what the attention does to images is there after", ""]
    lines += ["```", f"attncli look {shlex.quote(format_run_name(recipe))}", "```", ""]
    if provenance.commit:
        dirty_note = ", with uncommitted changes" if provenance.dirty else ""
        lines += [f"Code: commit `{provenance.commit[:12]}`{dirty_note}; attncli {provenance.version}.", ""]
    lines += [
        f"Digest `{provenance.digest}`; runs that differ only in the seed share the tag group `{provenance.group}`."
    ]
    return "\n".join(lines)


def format_run_command(recipe: Recipe) -> str:
    """Return the shortest `attncli run` command for this recipe."""
    arguments = ["attncli", "run", "--attn", recipe.model.attn, "--backbone", recipe.model.backbone]
    if recipe.seed:
        arguments += ["--seed", str(recipe.seed)]
    defaults = Recipe().flatten_keys()
    options = {key: f"--{option.replace('_', '-')}" for option, key in SHORTCUT_KEYS.items() if option != "pretrained"}
    for key, value in recipe.flatten_keys().items():
        if value != defaults[key] and key not in ("model.attn", "model.backbone", "seed", "data.content"):
            is_short = key in options and value is not None
            text = "x".join(map(str, value)) if isinstance(value, list) else str(value)  # image_size: 128x256
            arguments += [options[key], text] if is_short else ["--set", f"{key}={_quote_value(value)}"]
    return shlex.join(arguments)


def _quote_value(value: Any) -> str:
    """Return a value so that `--set` reads it back: text that YAML would read as another type stays in quotes."""
    if isinstance(value, str) and value.replace("-", "").replace("_", "").replace("/", "").isalnum():
        needs_no_quotes = value[0].isalpha() and value.lower() not in (
            "null",
            "true",
            "false",
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
        )
        return value if needs_no_quotes else json.dumps(value)
    return json.dumps(value)
