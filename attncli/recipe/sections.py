"""The sections of a recipe and their keys: types, ranges and defaults."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from attncli.errors import UserError
from attncli.recipe.image_size import parse_image_size
from attncli.system.code_reference import is_code_reference, label_code_reference, split_combination

Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Options = dict[str, Any]


class RecipeSection(BaseModel):
    """A section of a recipe: unknown keys and wrong types are errors, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Data(RecipeSection):
    """The images, how many of them, and how they are varied in training."""

    name: str = Field(default="digits", description="dataset; see `attncli ls data`")
    root: str | None = Field(
        default=None,
        description="folder of the files (or for the download); part of the identity only for your own images",
    )
    of: str | None = Field(default=None, description="the still-image dataset that clips or cluttered are made of")
    configuration: str | None = Field(
        default=None, description="which of several datasets in one Parquet folder or hub repository"
    )
    unused_splits: list[str] = Field(
        default=[], description="names of splits of your own data or the hub's that are left out"
    )
    image_column: str | None = Field(
        default=None, description="column of the images (parquet, hf, table); none = found by name and type"
    )
    label_column: str | None = Field(default=None, description="column of the labels, likewise")
    content: str | None = Field(
        default=None,
        description="digest of the images; set by attncli if there is a run of other images from the same place",
    )
    image_size: Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="side in pixels to resize to (cluttered: of the canvas), or [height, width]; none = as they are",
    )
    classes: Positive | list[str] | str | None = Field(
        default=None, description="the first k classes, these by name, or a text file with one class per line"
    )
    per_class: Positive | None = Field(default=None, description="training images kept per class (seeded)")
    fraction: Fraction | None = Field(default=None, description="share of the training images kept (seeded)")
    test_per_class: Positive | None = Field(
        default=None, description="test images kept per class at most (seeded), to try things out; none = all"
    )
    val_fraction: Share = Field(default=0.1, description="share of the training images held out for validation")
    subset_seed: int | Literal["run"] = Field(
        default=0, description="seed of the validation split, subsets and folds; run = that of the run"
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="cut the training images into k parts, of which part data.fold is the test set"
    )
    fold: Annotated[int, Field(ge=0)] = Field(default=0, description="the part that is the test set, from 0")
    group_column: str | None = Field(
        default=None, description="column of groups (patient, writer, video) that stay together in every cut"
    )
    group_pattern: str | None = Field(
        default=None, description="regular expression that finds the group in the path of a file (folder, table)"
    )
    background: str | None = Field(
        default=None, description="colour behind transparent images; none = white for your own images and the hub's"
    )
    grey_range: list[float] | None = Field(
        default=None,
        description="values of 16-bit grey images that become black and white; none = the bits that your images use",
    )
    max_pixels: Positive | None = Field(
        default=None, description="pixels of the largest image that is decoded; none = 178,956,970"
    )
    bad: Literal["refuse", "skip"] = Field(
        default="refuse", description="files that cannot be read as images: an error, or left out and listed"
    )
    orientation: Literal["auto", "follow", "ignore"] = Field(
        default="auto", description="EXIF orientation; auto = followed for your own images and the hub's"
    )
    pad: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="random crop after padding; none = size // 8 (cluttered: 0)"
    )
    flip: bool | None = Field(
        default=None, description="random horizontal flip; none = as the dataset suggests, on for your own images"
    )
    crop: Literal["pad", "resized"] = Field(
        default="pad", description="random crop: shifted by up to data.pad, or a part of the whole image, resized"
    )
    crop_scale: Fraction = Field(default=0.08, description="smallest share of the area that a resized crop shows")
    centre: Fraction = Field(
        default=0.875, description="share of the shorter side that evaluation sees, in the centre (with crop: resized)"
    )
    decoded: bool = Field(
        default=True, description="keep whole images decoded on disk; false = decode them in each epoch"
    )
    policy: Literal["none", "rand", "trivial"] = Field(
        default="none", description="RandAugment or TrivialAugment, drawn per image"
    )
    policy_ops: Positive = Field(default=2, description="operations of RandAugment per image")
    policy_magnitude: Annotated[int, Field(ge=0, le=30)] = Field(default=9, description="of RandAugment")
    erase: Share = Field(default=0.0, description="share of the images in which a random part is erased")
    mixup: Annotated[float, Field(ge=0)] = Field(default=0.0, description="alpha of mixup; 0 = none")
    cutmix: Annotated[float, Field(ge=0)] = Field(default=0.0, description="alpha of CutMix; 0 = none")
    frames: Annotated[int, Field(ge=2)] = Field(default=8, description="T, frames of a clip (clips only)")

    @field_validator("image_size", mode="before")
    @classmethod
    def _read_image_size(cls, value: Any) -> Any:
        """Take 128x256 for [128, 256], and one number for two equal ones, so that equal sizes are equal recipes."""
        with suppress(UserError):  # anything else is reported with the key's type
            value = parse_image_size(value) if isinstance(value, str) else value
        return value[0] if isinstance(value, list) and len(value) == 2 and value[0] == value[1] else value

    @field_validator("root")
    @classmethod
    def _name_root(cls, value: str | None) -> str | None:
        """Take the whole path for `.`, `..` and `~`: the images have the name of the folder, wherever it is read."""
        if value and value.strip() and Path(value).name in ("", "..", "~"):
            return os.path.realpath(os.path.expanduser(value))  # as the digest: link/.. is not the folder of the link
        return value

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of data.image_size in pixels."""
        if isinstance(self.image_size, list):
            return self.image_size[0], self.image_size[1]
        return None if self.image_size is None else (self.image_size, self.image_size)


class Model(RecipeSection):
    """A backbone and an attention mechanism at its sites, or a mechanism that is the whole network."""

    backbone: str = Field(
        default="resnet18", description="network, or FILE.py:NAME; see `attncli ls backbones`; ignored by whole models"
    )
    attn: str = Field(
        default="none", description="mechanism, FILE.py:CLASS, or several: se+simam; see `attncli ls attention`"
    )
    options: Options = Field(default={}, description="the mechanism's options; see `attncli show NAME`")
    site: str | None = Field(default=None, description="where in a block or network; none = the paper's site")
    stages: list[int] | None = Field(default=None, description="stages that get it, from 1, or negative, from the end")
    blocks: list[int] | None = Field(default=None, description="blocks of each stage that get it, counted alike")
    block_paths: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        description="your own network (FILE.py:NAME): paths of its blocks, `*` for a part; none = found by structure",
    )
    stem: Literal["auto", "cifar", "imagenet"] = Field(default="auto", description="auto = cifar below 64 px")
    last_stride: Literal[1] | None = Field(
        default=None, description="1 = the last stage keeps the size of its map; none = it halves it, if it is built so"
    )
    channels: Literal[1, 3] = Field(
        default=3, description="input channels of the backbone; 1 = the stem takes the luminance of the images"
    )
    replace: Literal["se"] | None = Field(
        default=None, description="built-in attention to remove; attn, if any, takes its place"
    )
    zero_init_residual: bool | None = Field(
        default=None,
        description="last norm of each residual branch starts with weight 0; none = as the mechanism's code does",
    )
    pretrained: bool | str = Field(
        default=False,
        description="true = torchvision's ImageNet weights (its cache), or the path of a state dict or a run's folder",
    )

    def flatten_options(self) -> dict[str, Any]:
        """Return the options by name; those of a combination as `se.reduction`."""
        if len(split_combination(self.attn)) == 1:
            return dict(self.options)
        return {f"{part}.{key}": value for part, own in self.options.items() for key, value in dict(own).items()}

    @property
    def backbone_label(self) -> str:
        """The backbone's name for tables and runs; `mine.Net` for a user's network in mine.py."""
        return label_code_reference(self.backbone) if is_code_reference(self.backbone) else self.backbone


class Train(RecipeSection):
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
    class_weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced = every class has the same share of the training loss"
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        default="shuffle",
        description="images of an epoch: shuffle = each once, balanced = as many, in equal numbers from every class",
    )
    lr_factors: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="fine-tuning: factors of lr by part (stem, stage1, ..., classifier, attention); 0 = frozen",
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(default=None, description="largest norm of the gradient")
    ema: Share | None = Field(default=None, description="decay of an average of the weights, used for evaluation")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        default="auto", description="auto = bf16 if native, else fp16 on CUDA and fp32 elsewhere; tf32: CUDA"
    )
    channels_last: bool = True
    compile: bool | Literal["reduce-overhead", "max-autotune"] = Field(
        default=False, description="torch.compile, in one of its modes if named; both use CUDA graphs"
    )
    accumulate: Positive = Field(
        default=1, description="parts of a batch that are computed one after the other; batch norms see the parts"
    )
    deterministic: bool = Field(default=False, description="CUDA: kernels whose sums have a fixed order; slower")
    graph: bool | Literal["auto"] = Field(
        default=False, description="CUDA: a step as one CUDA graph (off, on, auto); not tried on a GPU yet"
    )


class Measure(RecipeSection):
    """How overhead is measured; not part of the run's identity."""

    speed: bool = Field(default=True, description="time training and inference, alternating with the baseline")
    batch_size: Positive | None = Field(default=None, description="images per timed step; none = train.batch_size")
    repeats: Annotated[int, Field(ge=3)] = Field(default=9, description="timed pairs with the baseline, at least nine")
    seconds: Annotated[float, Field(gt=0)] = Field(default=8.0, description="approximate time limit of the timing")
    check_memory: bool = Field(
        default=True, description="refuse a training that needs more memory than is free; false = train regardless"
    )
