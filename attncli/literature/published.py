"""Published figures as data: one row per figure, with its source and where it was verified.

Every row with a figure of parameters (`params`, or `params_m` in millions) says in `match` how to get it here:

    match: {}                                   the row's backbone and attn with our defaults give the figure
    match: {options: {bias: true}}              so they do with these options
    match: {unit: 2^20}                         so they do, counted in 2^20 where the table says M
    match: {plus: 2752, why: ...}               the source's network has so many more, for the reason given
    match: 'no: ...'                            it cannot be compared, or does not agree, for the reason given

Keys of a match: `backbone`, `attn`, `options`, `site`, `stages`, `blocks`, `classes`, `size` (pixels) and `frames`
say what to build if it is not what the row says. `unit`, `digits` (decimals printed, if YAML drops a final
0), `cut: true` (decimals cut off, not rounded) and `plus` say how the source counts and prints. `why` explains.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from attncli import attention
from attncli.recipe import parse_yaml

NO_MATCH = "no: "  # what a match that can't be made begins with
IMAGES = {  # dataset -> (classes, side of an image in pixels)
    "ImageNet-1k": (1000, 224),
    "CIFAR-10": (10, 32),
    "CIFAR-100": (100, 32),
    "CIFAR-100 (inferred)": (100, 32),
    "SVHN": (10, 32),
    "Kinetics-400": (400, 224),
    "Something-Something V1": (174, 224),
}
# What sources call a network -> its name here.
SOURCE_NAMES = {
    "resnext50": "resnext50_32x4d",
    "preresnet18": "preactresnet18",
    "preresnet20": "preactresnet20",
    "preresnet56": "preactresnet56",
    "preresnet110": "preactresnet110",
    "wrn-16-8": "wide_resnet16_8",
    "wrn-28-10": "wide_resnet28_10",
    "wrn_28_10": "wide_resnet28_10",
    "wideresnet28x8": "wide_resnet28_8",
}
Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """What to build: a backbone with a mechanism for images of `size` pixels; `frames` of a clip, None for images."""

    backbone: str
    attn: str
    classes: int
    size: int
    options: Options = ()
    site: str | None = None
    stages: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    frames: int | None = None

    def to_recipe_values(self) -> dict[str, Any]:
        """Return its recipe values by dotted key. A mechanism that is the whole network has no backbone."""
        values: dict[str, Any] = {"attn": self.attn, "options": dict(self.options)}
        if not attention.is_whole_network(self.attn):
            values["backbone"] = self.backbone
        places = {"site": self.site, "stages": self.stages, "blocks": self.blocks}
        values |= {k: list(v) if isinstance(v, tuple) else v for k, v in places.items() if v is not None}
        return {f"model.{k}": v for k, v in values.items()}


@dataclass(frozen=True, kw_only=True)
class ParameterMatch:
    """How a row's parameters compare with ours: the network to build, and how the source counts and prints."""

    network: PublishedNetwork
    unit: int = 10**6
    digits: int | None = None  # decimals printed; None = as many as the figure has
    cut: bool = False
    plus: int = 0  # parameters of the source's network that ours does not have
    why: str = ""


class MatchEntry(BaseModel):
    """A match as written in a file; keys are explained in this file's docstring. Raises ValidationError for others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    backbone: str | None = None
    attn: str | None = None
    classes: int | None = None
    size: int | None = None
    frames: int | None = None
    site: str | None = None
    stages: list[int] | None = None
    blocks: list[int] | None = None
    options: dict[str, Any] = {}
    unit: Literal["2^20"] | None = None
    digits: int | None = None
    cut: bool = False
    plus: int = 0
    why: str = ""


@dataclass(frozen=True)
class PublishedRow:
    """A published figure or a line of a published table; `figures` by name, percentages as printed there."""

    dataset: str
    backbone: str
    attn: str
    figures: dict[str, Any]
    source: str
    verified: str  # where the figure was seen; "no" if it was quoted from memory or from a single mention
    card: str  # the mechanism whose file holds it
    match: ParameterMatch | str | None = (
        None  # how to compare its parameters, or why not; None if it has no such figure
    )

    @property
    def own_backbone(self) -> str:
        """Its network by the name that it has here; as the source calls it if there is no such network."""
        return name_own_backbone(self.backbone)

    def is_about(self, attn: str) -> bool:
        """Return whether its mechanism is `attn`, also in a form of it: `ge theta-plus`, `se-var3`, `2 x stn`."""
        return re.match(rf"(\d+ x )?{re.escape(attn)}(?!\w)", self.attn) is not None


@cache
def load_published_rows() -> tuple[PublishedRow, ...]:
    """Return all rows of all files. Raises ValueError, naming the file, for a row whose match is malformed."""
    rows = []
    for path in sorted((Path(__file__).parent / "data" / "published").glob("*.yaml")):
        for item in parse_yaml(path.read_text(encoding="utf-8")):
            try:
                rows.append(_parse_row(dict(item), path.stem))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path.name}: {item}: {error!r}") from error
    return tuple(rows)


def name_own_backbone(name: str) -> str:
    """Return the name that a network of a source has here; the same name if it is here already, or not at all."""
    return SOURCE_NAMES.get(name, name)


def find_rows_about(attn: str) -> list[PublishedRow]:
    """Return the rows about one mechanism, and those of its own file about what it is compared with."""
    return [row for row in load_published_rows() if row.is_about(attn) or row.card == attn]


def agrees_with_print(row: PublishedRow, params: int) -> bool:
    """Return whether a network of `params` parameters is what a matched row prints, to its last digit."""
    match = row.match
    assert isinstance(match, ParameterMatch)
    if "params" in row.figures:
        return bool(params + match.plus == row.figures["params"])
    printed = Decimal(str(row.figures["params_m"]))
    exponent = printed.as_tuple().exponent if match.digits is None else -match.digits
    rounding = ROUND_DOWN if match.cut else ROUND_HALF_UP
    return (Decimal(params + match.plus) / match.unit).quantize(Decimal(1).scaleb(int(exponent)), rounding) == printed


def _parse_row(item: dict[str, Any], card: str) -> PublishedRow:
    named = {k: str(item.pop(k)) for k in ("dataset", "backbone", "attn", "source", "verified")}
    match = _parse_match(item.pop("match", None), item, named)
    return PublishedRow(figures=item, card=card, match=match, **named)


def _parse_match(
    entry: Mapping[str, Any] | str | None, figures: Mapping[str, Any], named: Mapping[str, str]
) -> ParameterMatch | str | None:
    """Return the match of a mapping; a reason, or None, is returned unchanged."""
    if entry is None or isinstance(entry, str):
        if entry is not None and not entry.startswith(NO_MATCH):
            raise ValueError(f"match: {entry!r} does not begin with {NO_MATCH!r}")
        return entry
    parsed = MatchEntry.model_validate(entry)
    classes, size = IMAGES.get(named["dataset"], (None, None))
    classes, size = parsed.classes or classes, parsed.size or size
    if classes is None or size is None:
        raise ValueError(f"match: name classes and size, which {named['dataset']!r} does not imply")
    network = PublishedNetwork(
        backbone=parsed.backbone or named["backbone"],
        attn=parsed.attn or named["attn"],
        classes=classes,
        size=size,
        frames=parsed.frames or figures.get("frames"),
        options=tuple((k, _freeze_list(v)) for k, v in parsed.options.items()),
        site=parsed.site,
        stages=_freeze_list(parsed.stages),
        blocks=_freeze_list(parsed.blocks),
    )
    unit = 2**20 if parsed.unit else 10**6
    return ParameterMatch(
        network=network, unit=unit, digits=parsed.digits, cut=parsed.cut, plus=parsed.plus, why=parsed.why
    )


def _freeze_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
