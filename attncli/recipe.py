"""A recipe: everything that decides what a run does, strict, with its defaults here and nowhere else.

`read` merges a YAML file and command-line overrides, tells all errors at once, and gives a frozen Recipe
whose `digest` is the identity of the run.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from attncli.errors import CollectedError, UserError, nearest

Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Options = dict[str, Any]


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Data(Section):
    """Which images, how many of them, and how they are varied in training."""

    name: str = Field(default="digits", description="dataset; see `attncli ls data`")
    root: str | None = Field(default=None, description="folder that holds (or gets) the files; no part of the identity")
    of: str | None = Field(default=None, description="the still-image dataset that clips or cluttered are made of")
    image_size: Positive | None = Field(
        default=None, description="side in pixels to resize to (cluttered: of the canvas); none = as they are"
    )
    classes: Positive | list[str] | None = Field(default=None, description="the first k classes, or these by name")
    per_class: Positive | None = Field(default=None, description="training images kept of each class (seeded)")
    fraction: Fraction | None = Field(default=None, description="share of the training images kept (seeded)")
    val_fraction: Share = Field(default=0.1, description="share of the training images held out for choosing anything")
    subset_seed: int = Field(
        default=0, description="seed of the validation cut and the subsets, the same for every run seed"
    )
    pad: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="random crop after padding; none = size // 8 (cluttered: 0)"
    )
    flip: bool | None = Field(default=None, description="random horizontal flip; none = as suits the dataset")
    frames: Annotated[int, Field(ge=2)] = Field(default=8, description="T, frames of a clip (clips only)")


class Model(Section):
    """A backbone and an attention mechanism at its sites, or a mechanism that is the whole network."""

    backbone: str = Field(
        default="resnet18", description="network; see `attncli ls backbones`; ignored by whole models"
    )
    attn: str = Field(default="none", description="mechanism, or the path of a file; see `attncli ls attention`")
    options: Options = Field(default={}, description="the mechanism's options; see `attncli show NAME`")
    site: str | None = Field(default=None, description="where in a block or network; none = the paper's site")
    stages: list[int] | None = Field(default=None, description="stages that get it, from 1 or, negative, from the end")
    blocks: list[int] | None = Field(default=None, description="blocks of each stage that get it, counted likewise")
    stem: Literal["auto", "cifar", "imagenet"] = Field(default="auto", description="auto = cifar below 64 px")


class Train(Section):
    """Optimisation."""

    epochs: Annotated[int, Field(ge=1)] = 12
    batch_size: Positive = 128
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = Field(default=0.1, description="peak learning rate")
    momentum: Share = Field(default=0.9, description="of sgd; beta1 of adam and adamw")
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    decay_norm_bias: bool = Field(default=False, description="weight decay on norms and biases too")
    schedule: Literal["cosine", "onecycle", "step", "constant"] = "onecycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = Field(default=0.0, description="linear warm-up (not with onecycle)")
    step_epochs: list[Positive] = Field(default=[], description="epochs after which step divides lr by 10")
    label_smoothing: Share = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(default=None, description="largest norm of the gradient")
    ema: Share | None = Field(default=None, description="decay of an average of the weights, used for evaluation")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(default="auto", description="auto = bf16 where native")
    channels_last: bool = True
    compile: bool = False


class Measure(Section):
    """How overhead is measured; no part of the run's identity."""

    speed: bool = Field(default=True, description="time training and inference against the baseline, in turn")
    batch_size: Positive | None = Field(default=None, description="images of a timed step; none = train.batch_size")
    repeats: Annotated[int, Field(ge=3)] = Field(default=7, description="timed pairs (variant, baseline)")
    seconds: Annotated[float, Field(gt=0)] = Field(default=8.0, description="time that timing may take, about")


class Recipe(Section):
    """Data, model, training, measuring and the seed of one run."""

    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    measure: Measure = Measure()
    seed: Annotated[int, Field(ge=0)] = 0
    experiment: str | None = Field(default=None, description="MLflow experiment; none = DATASET-BACKBONE; not identity")

    def identity(self) -> dict[str, Any]:
        """What makes a run another run: all keys but where files lie, how it is timed and how it is filed."""
        whole = self.model_dump(exclude={"measure": True, "experiment": True, "data": {"root"}})
        if self.model.attn.endswith(".py"):
            whole["model"]["attn"] = _content(Path(self.model.attn))
        return whole

    def digest(self) -> str:
        """Twelve hexadecimal digits that name the run: a SHA-256 of `identity`."""
        return _sha(self.identity())

    def group(self) -> str:
        """The digest without the seed: runs of one group differ by the seed alone."""
        return _sha({k: v for k, v in self.identity().items() if k != "seed"})

    def baseline(self) -> "Recipe":
        """The same recipe without a mechanism (whole models have the plain backbone of the recipe)."""
        cleared: dict[str, Any] = {"attn": "none", "options": {}, "site": None, "stages": None, "blocks": None}
        return self.model_copy(update={"model": self.model.model_copy(update=cleared)})

    def flat(self) -> dict[str, Any]:
        """Every key in dotted form, for example `train.lr`."""
        return {
            (f"{part}.{key}"): v
            for part, section in self.model_dump(exclude={"seed", "experiment"}).items()
            for key, v in section.items()
        } | {"seed": self.seed}

    def yaml(self) -> str:
        """The whole recipe as YAML that `read` takes."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _content(path: Path) -> str:
    """A name for a user's own file that changes with its content and not with its folder."""
    try:
        return f"{path.stem}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "give the path of a readable .py file") from error


def merge(path: Path | None, overrides: Iterable[str], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The keys of a YAML file (none without one), then `values` by dotted key, then `key=value` overrides."""
    tree = load_yaml(path) if path else {}
    for key, value in (values or {}).items():
        put(tree, key, value)
    for item in overrides:
        key, value = parse_override(item)
        put(tree, key, value)
    return tree


def errors(tree: Any, where: str = "") -> list[UserError]:
    """Every unknown or wrongly typed key of a tree; empty where `Recipe.model_validate` would take it."""
    try:
        Recipe.model_validate(tree)
    except ValidationError as error:
        return [_explain(same, where) for same in _by_key(error.errors())]
    return []


def read(path: Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a YAML file and overrides, by its form alone (`attncli.check.read` looks at the names too).

    Raises CollectedError that lists every unreadable, unknown or wrongly typed key at once.
    """
    tree = merge(path, overrides, values)
    if found := errors(tree, str(path) if path else ""):
        raise CollectedError(found)
    return Recipe.model_validate(tree)


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds. Raises UserError for an unreadable file, bad YAML or a doubled key."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "`attncli ls recipes` lists recipes") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {_first_line(error)}", "mend the file") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a recipe is a mapping of sections", f"sections: {', '.join(Recipe.model_fields)}")
    return tree


def parse_override(item: str) -> tuple[str, Any]:
    """`train.lr=1e-3` -> ("train.lr", 0.001): split at the first `=`, the value read as YAML."""
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {item}: not of the form key=value", "for example --set train.lr=0.05")
    try:
        return key.strip(), yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"--set {item}: the value is not valid YAML: {_first_line(error)}", "quote it") from error


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested dicts."""
    *parts, last = key.split(".")
    for part in parts:
        below = tree.get(part)
        if below is None:
            below = tree[part] = {}
        if not isinstance(below, dict):
            raise UserError(f"{key}: '{part}' holds a value, not keys", "give the whole key, for example train.lr")
        tree = below
    tree[last] = value


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else str(what)


def _by_key(errors: list[ErrorDetails]) -> list[list[ErrorDetails]]:
    """The errors of each key together: where several types are allowed, each of them has its own to say."""
    groups: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        groups.setdefault(".".join(_keys(error)), []).append(error)
    return list(groups.values())


def _keys(error: ErrorDetails) -> list[str]:
    """The keys that lead to an error; those of the types tried on the way (pydantic's) and below are left out."""
    tried = next((i for i, p in enumerate(error["loc"]) if i > 1 and isinstance(p, str)), None)
    keys = error["loc"] if error["type"] == "extra_forbidden" else error["loc"][:tried]
    return [str(p) for p in keys]


def _explain(same: list[ErrorDetails], where: str) -> UserError:
    """The errors of one key as problem and hint, with the dotted key."""
    error, keys = same[0], _keys(same[0])
    place = f"{where}: {'.'.join(keys)}" if where else ".".join(keys)
    if error["type"] == "extra_forbidden":
        parts: dict[str, type[Section]] = {"data": Data, "model": Model, "train": Train, "measure": Measure}
        section = parts.get(keys[0], Recipe)
        return UserError(f"{place}: unknown key", nearest(keys[-1], section.model_fields))
    wanted = " or ".join(dict.fromkeys(map(_wanted, same)))
    return UserError(f"{place}: {json.dumps(error['input'], default=str)} is not allowed", f"allowed: {wanted}")


def _wanted(error: ErrorDetails) -> str:
    """What pydantic would have taken, in our words."""
    text = error["msg"].removeprefix("Input should be ").replace("a valid ", "").replace("dictionary", "mapping")
    text = re.sub(r" or instance of \w+$", "", text)
    inside = isinstance(error["loc"][-1], int) and any(isinstance(p, str) for p in error["loc"][2:])
    return f"list of {text}s" if inside else text


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (1e-3 is one), and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, refused where a key stands twice."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
