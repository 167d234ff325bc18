"""What makes runs the seeds of one variant, pairs, and one table, as keys.

A user's own files count by their content, as far as a run recorded it, and never by their path. A run of an earlier
version did not record the content of the user's network and weights: it is told apart by their path and its group.
"""

from collections.abc import Mapping
from pathlib import Path

from attncli.analysis.conditions import CONDITION_NAMES, NETWORK, name_mechanism_code, name_network_files
from attncli.attention import NONE
from attncli.portable_runs import has_own_cut, has_own_images
from attncli.recipe import Model, Recipe
from attncli.recipe.file_identity import hash_json
from attncli.runs import FinishedRun
from attncli.system.code_reference import is_code_reference, label_mechanism_name
from attncli.track.tags import flatten_params

OPTION = "model.options."
ATTN, PLACE_KEYS = "model.attn", ("model.site", "model.stages", "model.blocks")
RUN_KEYS = ("seed", "data.root", "data.decoded", "data.content", "data.fold")  # in which runs of a variant may differ
TIMING = "measure."
CUT_ANEW = "cut by seed or fold"  # in place of the images' digest, which then differs from run to run
BaselineKey = tuple[tuple[str, str], ...]


def make_baseline_key(run: FinishedRun, conditions: Mapping[str, str]) -> BaselineKey:
    """Return what a run shares with its baseline: images, conditions, recipe without mechanism, seed and timing."""
    shared_params = {
        key: value
        for key, value in _list_shared_params(run.recipe).items()
        if key not in (ATTN, *PLACE_KEYS) and not key.startswith(OPTION)
    }
    if files := name_network_files(run.result):
        shared_params |= {**_label_network(run.recipe.model), NETWORK: files}
    shared_params |= {"data": CUT_ANEW if has_own_cut(run.recipe) else run.result.data_digest[:8], **conditions}
    return tuple(sorted(shared_params.items()))


def make_variant_key(run: FinishedRun) -> tuple[str, ...]:
    """Return what the runs of one variant share, beside the key of their baseline.

    Plain networks of one baseline are one variant, also if their recipes say where a mechanism would be. Of a variant
    on the user's own images the group does not count, as it has the path of the images.
    """
    result, code = run.result, name_mechanism_code(run.result)
    if _has_unrecorded_files(run) or (has_own_images(run.recipe) and has_own_cut(run.recipe)):
        return result.group, code
    if result.attn == NONE:
        return (NONE,)
    if not code or not has_own_images(run.recipe):
        return result.group, code
    return result.attn, code, *(f"{key}={value}" for key, value in _list_mechanism_params(run.recipe))


def make_recipe_key(recipe: Recipe, group: str, data_digest: str) -> str:
    """Return what a run that failed shares with the finished ones of its variant: their group.

    On the user's own images it is the recipe with the digest of the images in place of their path, by which groups
    differ; the group nonetheless if the digest is not known.
    """
    if not has_own_images(recipe) or has_own_cut(recipe) or not data_digest:
        return group
    labels = {ATTN: label_mechanism_name(recipe.model.attn), **_label_network(recipe.model)}
    return hash_json([data_digest, _list_shared_params(recipe) | labels])


def list_failure_keys(run: FinishedRun) -> set[str]:
    """Return the keys that runs which failed may share with a finished one (`make_recipe_key`)."""
    return {run.result.group, make_recipe_key(run.recipe, run.result.group, run.result.data_digest)}


def _list_shared_params(recipe: Recipe) -> dict[str, str]:
    """Return the values that all runs of a recipe share, by dotted key."""
    return {k: v for k, v in flatten_params(recipe).items() if k not in RUN_KEYS and not k.startswith(TIMING)}


def _list_mechanism_params(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the options and the place of a recipe's mechanism."""
    return [(k, v) for k, v in sorted(flatten_params(recipe).items()) if k in PLACE_KEYS or k.startswith(OPTION)]


def _label_network(model: Model) -> dict[str, str]:
    """Return the names of the plain network and its weights without their folders, by dotted key."""
    weights = {"model.pretrained": Path(model.pretrained).name} if isinstance(model.pretrained, str) else {}
    return {"model.backbone": model.backbone_label, **weights}


def _has_unrecorded_files(run: FinishedRun) -> bool:
    """Return whether the network or its weights are the user's, and the run does not say which they were."""
    model = run.recipe.model
    has_files = is_code_reference(model.backbone) or isinstance(model.pretrained, str)
    return has_files and not name_network_files(run.result)


def leave_out_conditions(base: BaselineKey) -> BaselineKey:
    """Return a baseline's key without conditions and the content of files: equal if trainings differ in those alone."""
    return tuple((key, value) for key, value in base if key not in (*CONDITION_NAMES, NETWORK))


def number_pair(recipe: Recipe) -> int:
    """Return the number under which a run is paired with its baseline: the seed, or that of seed and fold.

    With k folds, fold f of seed s has the number k s + f.
    """
    folds = recipe.data.folds
    return recipe.seed if folds is None else recipe.seed * folds + recipe.data.fold
