"""What is told of a run in MLflow: its name, parameters, tags and a description in Markdown."""

import getpass
import json
import shlex
from pathlib import Path
from typing import Any

from attncli import attention
from attncli.errors import UserError
from attncli.recipe import Recipe, unset
from attncli.track import claimed
from attncli.track.origin import Origin, label

LONGEST_PARAM = 6000  # characters; MLflow's limits, beyond which it would refuse or cut
LONGEST_TAG = 8000


def run_name(recipe: Recipe) -> str:
    """Such as eca-resnet18-s0, or ram-s0 for a mechanism that is the whole network; changed options are told.

    As in eca[gamma=3]-resnet18-s0, and with the places that are not the paper's, se@mid/3/4-resnet50-s1.
    """
    model = recipe.model
    backbone = "" if whole(recipe) else f"-{model.backbone}"
    options = ",".join(f"{key}={written(value)}" for key, value in model.options.items())
    site = f"@built-in-{model.replace}" if model.replace else (model.site and f"@{model.site}") or ""
    place = "/".join([site, *map(str, model.stages or ())])
    return f"{label(recipe)}{f'[{options}]' if options else ''}{place}{backbone}-s{recipe.seed}"


def whole(recipe: Recipe) -> bool:
    """Whether the mechanism is the whole network, the recipe's backbone only what it is compared with."""
    try:
        return recipe.model.attn != attention.NONE and attention.describe(recipe.model.attn).card.site == "model"
    except UserError:  # a user's own file that is no longer there
        return False


def experiment_name(recipe: Recipe) -> str:
    """The recipe's own, else <images>-<backbone>."""
    return recipe.experiment or f"{images(recipe)}-{recipe.model.backbone}"


def images(recipe: Recipe) -> str:
    """What the images are called: the data set's name, of images of one's own that of the folder, the hub's there."""
    data = recipe.data
    if data.name == "hf" and data.of:
        return data.of.replace("/", "-")
    if data.name in ("folder", "parquet") and data.root:
        return Path(data.root).name.removesuffix(".parquet")
    return data.name


def params(recipe: Recipe) -> dict[str, str]:
    """The flat recipe, every value as `--set` takes it; the mechanism's options each under their own key.

    Keys that came later and are not set are left out: runs made before have the same parameters, and compare.
    """
    flat = {key: value for key, value in recipe.flat().items() if not unset(key, value)}
    options = flat.pop("model.options")
    flat |= {f"model.options.{key}": value for key, value in options.items()}
    return {key: _fit(written(value), LONGEST_PARAM) for key, value in flat.items()}


def written(value: Any) -> str:
    """A value as it is written in a recipe: text bare, all else as JSON, which YAML includes."""
    return value if isinstance(value, str) else json.dumps(value)


def _fit(text: str, longest: int) -> str:
    """The text, or what fits of it, saying how much is missing and where the whole is."""
    if len(text) <= longest:
        return text
    note = f" ... ({len(text)} characters; whole in recipe.yaml)"
    return text[: longest - len(note)] + note


def tags(recipe: Recipe, origin: Origin) -> dict[str, str]:
    """The tags of a run: what to search and group by, and where it came from."""
    found = {
        "attn": label(recipe),
        "backbone": recipe.model.backbone,
        "dataset": recipe.data.name,
        "category": category(recipe),
        "seed": str(recipe.seed),
        "digest": origin.digest,
        "group": origin.group,
        "data_digest": origin.facts.digest if origin.facts else "",
        "git.commit": origin.commit or "",
        "git.dirty": str(origin.dirty).lower() if origin.commit else "",
        "attncli.version": origin.version,
        "machine": json.dumps(origin.machine) if origin.machine else "",
        "host": origin.process.host,
        "pid": str(origin.process.pid),
        "pid.started": str(origin.process.started),
        "mlflow.source.name": "attncli",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": origin.commit or "",
        "mlflow.user": _user(),
        "mlflow.note.content": note(recipe, origin),
    }
    return {key: _fit(value, LONGEST_TAG) for key, value in found.items() if value}


def category(recipe: Recipe) -> str:
    """The mechanism's category; `own` for one that is not ours or no longer there, `none` without one."""
    if recipe.model.attn == attention.NONE:
        return attention.NONE
    try:
        return attention.locate(recipe.model.attn)[0]
    except UserError:
        return "own"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return ""


def note(recipe: Recipe, origin: Origin) -> str:
    """Markdown that says what the run is and how to do it again."""
    what = f"`{label(recipe)}`" if whole(recipe) else f"`{label(recipe)}` in {recipe.model.backbone}"
    if recipe.model.attn == attention.NONE:
        what = f"{recipe.model.backbone} without attention"
    lines = [f"**{what}** on {images(recipe)}, {recipe.train.epochs} epochs, seed {recipe.seed}.", ""]
    lines += claimed.markdown(recipe.model.attn)
    if origin.facts:
        f = origin.facts
        lines += [
            f"Data: {f.train} training, {f.val} validation and {f.test} test images of {f.size[0]}x{f.size[1]} px "
            f"in {len(f.classes)} classes; content `{f.digest[:12]}`.",
            "",
        ]
    lines += ["Again:", "", "```", command(recipe), "```", ""]
    lines += ["Its pictures are under Artifacts; what the attention does to images is there after", ""]
    lines += ["```", f"attncli look {shlex.quote(run_name(recipe))}", "```", ""]
    if origin.commit:
        changed = ", with uncommitted changes" if origin.dirty else ""
        lines += [f"Code: commit `{origin.commit[:12]}`{changed}; attncli {origin.version}.", ""]
    lines += [f"Digest `{origin.digest}`; runs that differ in the seed alone share the tag group `{origin.group}`."]
    return "\n".join(lines)


def command(recipe: Recipe) -> str:
    """The shortest `attncli run` command that means this recipe."""
    words = ["attncli", "run", "--attn", recipe.model.attn, "--backbone", recipe.model.backbone]
    if recipe.seed:
        words += ["--seed", str(recipe.seed)]
    usual = Recipe().flat()
    for key, value in recipe.flat().items():
        if value != usual[key] and key not in ("model.attn", "model.backbone", "seed"):
            words += ["--set", f"{key}={_quoted(value)}"]
    return shlex.join(words)


def _quoted(value: Any) -> str:
    """A value as `--set` reads it back: text that YAML would take for something else stays in quotes."""
    if isinstance(value, str) and value.replace("-", "").replace("_", "").replace("/", "").isalnum():
        plain = value[0].isalpha() and value.lower() not in (
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
        return value if plain else json.dumps(value)
    return json.dumps(value)
