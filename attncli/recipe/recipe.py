"""A whole recipe, and what is derived from it: the identity of its run (digest, group) and its baseline."""

from functools import cache
from typing import Annotated, Any

from pydantic import Field

from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.recipe.file_identity import (
    hash_json,
    name_backbone_by_content,
    name_mechanism_by_content,
    name_weights_by_content,
)
from attncli.recipe.sections import Data, Measure, Model, Positive, RecipeSection, Train
from attncli.recipe.yaml_loader import format_yaml
from attncli.system.files import expand_user_path, read_user_text

# Keys that were added when there were runs already, by section. At their default, which means "as before", they are no
# part of a recipe's identity, so that the digests of those runs stay the same (tests/recipe/test_identity_kept.py).
KEYS_ADDED_LATER: dict[str, frozenset[str]] = {
    "data": frozenset(
        {"crop", "crop_scale", "centre", "policy", "policy_ops", "policy_magnitude", "erase", "mixup", "cutmix"}
        | {"configuration", "unused_splits", "image_column", "label_column", "content"}
        | {"folds", "fold", "group_column", "group_pattern"}
        | {"background", "grey_range", "orientation", "max_pixels", "bad", "test_per_class"}
    ),
    "model": frozenset({"replace", "pretrained", "channels", "last_stride", "zero_init_residual", "block_paths"}),
    "train": frozenset({"accumulate", "deterministic", "lr_factors", "class_weights", "sampling", "graph"}),
}


class Recipe(RecipeSection):
    """Data, model, training, measurement and the seed of one run."""

    data: Data = Data()
    model: Model = Model()
    train: Train = Train()
    measure: Measure = Measure()
    seed: Annotated[int, Field(ge=0)] = 0
    experiment: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="MLflow experiment; none = DATASET-BACKBONE"
    )
    planned_seeds: Positive | None = Field(
        default=None, description="how many seeds are planned in all; `compare` judges when they are finished"
    )

    def build_identity(self) -> dict[str, Any]:
        """Return everything that makes two runs different: not paths of files, timing, experiment, planned seeds.

        If the user brings the images, data.root counts, as it decides which images they are. Keys of `KEYS_ADDED_LATER`
        count only if they are not at their default. A file of classes counts as its list; a user's mechanism, network
        or weights and the mechanism of another package count as their content (`attncli.recipe.file_identity`).
        """
        identity = self.model_dump(
            exclude={"measure": True, "experiment": True, "planned_seeds": True, "data": {"root", "decoded"}}
        )
        if self.data.root is not None and any(has_origin(n, "user", "hub") for n in (self.data.name, self.data.of)):
            identity["data"]["root"] = _resolve_root(self.data.root)
        if isinstance(self.data.classes, str):
            identity["data"]["classes"] = read_class_list(self.data.classes)
        for name, keys in KEYS_ADDED_LATER.items():
            defaults = type(getattr(self, name))().model_dump(include=keys)
            identity[name] = {
                key: value for key, value in identity[name].items() if key not in defaults or value != defaults[key]
            }
        identity["model"]["attn"] = name_mechanism_by_content(self.model.attn)
        identity["model"]["backbone"] = name_backbone_by_content(self.model.backbone)
        if isinstance(self.model.pretrained, str):
            identity["model"]["pretrained"] = name_weights_by_content(self.model.pretrained)
        return identity

    def compute_digest(self) -> str:
        """Return twelve hexadecimal digits that identify the run: a SHA-256 of `build_identity`."""
        return hash_json(self.build_identity())

    def compute_group(self) -> str:
        """Return the digest without seed, fold and data.content: the runs of one group differ in seed and fold only."""
        identity = self.pin_content(None).build_identity()
        identity["data"].pop("fold", None)
        return hash_json({key: value for key, value in identity.items() if key != "seed"})

    def pin_content(self, data_digest: str | None) -> "Recipe":
        """Return the same recipe for the images with this digest, and no others; with None, for any images."""
        content = None if data_digest is None else format_content(data_digest)
        return self.model_copy(update={"data": self.data.model_copy(update={"content": content})})

    def resolve_data(self) -> Data:
        """Return the section `data` with the run's seed in place of data.subset_seed=run."""
        if self.data.subset_seed != "run":
            return self.data
        return self.data.model_copy(update={"subset_seed": self.seed})

    def make_baseline(self) -> "Recipe":
        """Return the same recipe without a mechanism; for a whole network, that is the recipe's plain backbone."""
        cleared: dict[str, Any] = {"attn": "none", "options": {}, "site": None, "stages": None, "blocks": None}
        return self.model_copy(update={"model": self.model.model_copy(update=cleared)})

    def flatten_keys(self) -> dict[str, Any]:
        """Return every key in dotted form, for example `train.lr`, with its value."""
        return {
            (f"{section_name}.{key}"): value
            for section_name, section in self.model_dump(exclude={"seed", "experiment", "planned_seeds"}).items()
            for key, value in section.items()
        } | {"seed": self.seed}

    def to_yaml(self) -> str:
        """Return the whole recipe as YAML that `read` accepts."""
        return format_yaml(self.model_dump(mode="json"))


def format_content(data_digest: str) -> str:
    """Return the value of data.content for the digest of a dataset."""
    return f"sha256:{data_digest[:16]}"


def read_class_list(path: str) -> list[str]:
    """Return the class names in a text file, one per line; text after # is ignored. Raises UserError."""
    file = expand_user_path(path, "data.classes")
    lines = read_user_text(file, "give a number, a list of names, or a file of names", "data.classes").splitlines()
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise UserError(f"data.classes: {path}: no class in it", "write one class per line")
    return names


def is_default_late_key(key: str, value: Any) -> bool:
    """Return whether a dotted key is one of `KEYS_ADDED_LATER` at its default; runs made before do not have it."""
    section, _, name = key.partition(".")
    return name in KEYS_ADDED_LATER.get(section, ()) and value == _dump_default_recipe()[section][name]


@cache
def _dump_default_recipe() -> dict[str, Any]:
    """Return the values of a recipe that sets nothing."""
    return Recipe().model_dump()


def _resolve_root(root: str) -> str:
    """Return the absolute path of a folder; a text that is no path unchanged."""
    path = expand_user_path(root, "data.root")
    return str(path.resolve()) if path.exists() else root
