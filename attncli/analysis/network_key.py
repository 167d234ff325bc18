"""What makes two networks the same and two trainings comparable, as keys; and the images that figures are of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attncli import attention, backbones
from attncli.analysis.conditions import complete_conditions
from attncli.analysis.run_keys import CUT_ANEW
from attncli.attention import NONE, Mechanism
from attncli.errors import UserError
from attncli.portable_runs import forget_image_root, has_own_cut
from attncli.recipe import Model, Recipe, name_backbone_by_content, name_mechanism_by_content
from attncli.runs import FinishedRun
from attncli.system.code_reference import is_code_reference

MECHANISM_KEYS = ("options", "site", "stages", "blocks")  # keys that mean nothing without a mechanism
RunIndex = dict[str, dict[str, list[FinishedRun]]]  # by network key, then by protocol key


@dataclass(frozen=True)
class ImageSpec:
    """The images that a figure is of: side in pixels, number of classes, frames of a clip (None: still images)."""

    size: int
    classes: int
    frames: int | None = None


def make_network_key(model: Model) -> str:
    """Return what identifies a network: keys, options and site at their defaults are left out.

    Raises UserError if the mechanism is unknown, or its file is gone.
    """
    fields = type(model).model_fields
    distinct = {
        k: v
        for k, v in _convert_to_lists(model.model_dump()).items()
        if k == "backbone" or v != _convert_to_lists(fields[k].default)
    }
    distinct["backbone"] = name_backbone_by_content(model.backbone)
    if model.attn == NONE:
        return json.dumps({k: v for k, v in distinct.items() if k not in MECHANISM_KEYS}, sort_keys=True)
    mechanism = attention.describe_mechanism(model.attn)
    distinct["attn"] = name_mechanism_by_content(model.attn)
    distinct["options"] = _keep_changed_options(mechanism, model.options)
    if mechanism.is_whole_network:
        del distinct["backbone"]
    elif not mechanism.parts and model.site == backbones.get_paper_site(model.backbone, mechanism.card):
        del distinct["site"]
    return json.dumps(distinct, sort_keys=True)


def make_image_network_key(model: Model, images: ImageSpec) -> str:
    """Return what identifies a network together with the images that its counts are of.

    Raises UserError if the mechanism is unknown, or its file is gone.
    """
    return f"{make_network_key(model)} {images.size} {images.classes} {images.frames}"


def _keep_changed_options(mechanism: Mechanism, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not at their defaults; those of a combination by part."""
    if mechanism.parts:
        changed = {
            p.option_section: _keep_changed_options(p, options.get(p.option_section) or {}) for p in mechanism.parts
        }
        return {part: own for part, own in changed.items() if own}
    default_options = {name: _convert_to_lists(p.default) for name, p in mechanism.options.items()}
    return {k: v for k, v in _convert_to_lists(options).items() if v != default_options.get(k, ...)}


def make_protocol_key(recipe: Recipe, data_digest: str, conditions: Mapping[str, str]) -> str:
    """Return what two comparable runs share: the recipe without network and seed, the very images, the conditions.

    Where the user's own images lie does not count, as their digest says which they are.
    Runs whose images are cut anew for each seed have no images in common; whoever pairs them compares the digests.

    Raises UserError if a file that the recipe names is gone.
    """
    known_by_digest = recipe if has_own_cut(recipe) else forget_image_root(recipe)
    identity = known_by_digest.pin_content(None).build_identity()
    shared = {name: value for name, value in identity.items() if name not in ("model", "seed")}
    images = CUT_ANEW if has_own_cut(recipe) else data_digest
    return json.dumps(shared | {"images": images, **conditions}, sort_keys=True)


def index_runs(runs: Sequence[FinishedRun]) -> RunIndex:
    """Return the tested runs by network and protocol, each list in the order of `runs`.

    Runs whose mechanism or files are gone have no keys and are left out; so are those of a user's file or another
    package's mechanism that has changed since, as they are of another network than its name means now.
    """
    index: RunIndex = {}
    for run, conditions in zip(runs, complete_conditions(runs), strict=True):
        if run.result.test_top1 is None:
            continue
        try:
            if _names_user_files(run.recipe.model) and run.recipe.compute_digest() != run.digest:
                continue
            network = make_network_key(run.recipe.model)
            protocol = make_protocol_key(run.recipe, run.result.data_digest, conditions)
        except UserError:
            continue
        index.setdefault(network, {}).setdefault(protocol, []).append(run)
    return index


def _names_user_files(model: Model) -> bool:
    """Return whether a network depends on files that are not ours: a plug-in, a user's network, a file of weights."""
    is_user_network = is_code_reference(model.backbone)
    return attention.is_plugin(model.attn) or is_user_network or isinstance(model.pretrained, str)


def _convert_to_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _convert_to_lists(v) for k, v in value.items()}
    return [_convert_to_lists(v) for v in value] if isinstance(value, list | tuple) else value
