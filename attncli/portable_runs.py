"""Runs as they are on any machine: without the path of the user's own images, which counts in their digests here.

The digest of the images, which a result has, says which images they were. A user's own code, network, weights and list
of classes count in a digest by their content now. So a run whose files have changed since its training, or are gone,
keeps the digest that it was trained under.
"""

from dataclasses import replace
from typing import Any

from attncli import attention
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.recipe import Model, Recipe
from attncli.records import Result
from attncli.runs import FailedRun, FinishedRun
from attncli.system.code_reference import is_code_reference, split_combination


def drop_image_paths(run: FinishedRun) -> FinishedRun:
    """Return the run as it is anywhere: without `data.root`, with the digests that its recipe then has.

    A run on published images is returned unchanged: where they lie is no part of its digest. One whose own files are
    not those of its training keeps its digests.
    """
    recipe = forget_image_root(run.recipe)
    if recipe is run.recipe:
        return run
    if not has_files_of_training(run.recipe, run.digest):
        return replace(run, recipe=recipe)
    return replace(run, recipe=recipe, result=_name_result(run.result, recipe))


def forget_failed_root(failure: FailedRun) -> FailedRun:
    """Return the failed run without the path of its images, as `drop_image_paths` does."""
    recipe = forget_image_root(failure.recipe)
    if recipe is failure.recipe:
        return failure
    if not has_files_of_training(failure.recipe, failure.digest):
        return replace(failure, recipe=recipe)
    return replace(failure, recipe=recipe, digest=recipe.compute_digest(), group=recipe.compute_group())


def pin_images(run: FinishedRun) -> FinishedRun:
    """Return a run of `drop_image_paths` for its images and no others: data.content is part of its digest."""
    recipe = run.recipe.pin_content(run.result.data_digest)
    return replace(run, recipe=recipe, result=_name_result(run.result, recipe))


def forget_image_root(recipe: Recipe) -> Recipe:
    """Return the recipe without `data.root` if the path would count, that is for the user's own images."""
    if recipe.data.root is None or not has_own_images(recipe):
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": None})})


def forget_images(recipe: Recipe) -> Recipe:
    """Return the recipe for any images: without their path, if it would count, and without data.content."""
    return forget_image_root(recipe).pin_content(None)


def has_own_images(recipe: Recipe) -> bool:
    """Return whether the images are the user's or the hub's, so that the recipe alone does not say which they are."""
    return any(has_origin(name, "user", "hub") for name in (recipe.data.name, recipe.data.of))


def has_own_cut(recipe: Recipe) -> bool:
    """Return whether the runs of one group are cut into training and test images in different ways."""
    return recipe.data.folds is not None or recipe.data.subset_seed == "run"


def list_own_files(recipe: Recipe) -> list[str]:
    """Return the user's files that a recipe names, and mechanisms of other packages: what counts by its content.

    Raises UserError for a mechanism that is not known.
    """
    model, classes = recipe.model, recipe.data.classes
    code = [name for name in split_combination(model.attn) if is_code_reference(name) or attention.is_plugin(name)]
    code += [model.backbone] if is_code_reference(model.backbone) else []
    return code + [name for name in (model.pretrained, classes) if isinstance(name, str)]


def drop_own_files(recipe: Recipe) -> Recipe:
    """Return the recipe without the user's files, which another machine does not have, and without their options."""
    model, data = recipe.model, recipe.data
    changes: dict[str, Any] = {}
    mechanisms = split_combination(model.attn)
    if any(map(is_code_reference, mechanisms)):
        others = [name for name in mechanisms if not is_code_reference(name)]
        changes |= {"attn": "+".join(others) or attention.NONE, "options": {}}
    if is_code_reference(model.backbone):
        changes["backbone"] = Model().backbone
    if isinstance(model.pretrained, str):
        changes["pretrained"] = True
    if isinstance(data.classes, str):
        data = data.model_copy(update={"classes": None})
    return recipe.model_copy(update={"model": model.model_copy(update=changes), "data": data})


def has_files_of_training(recipe: Recipe, digest: str) -> bool:
    """Return whether the files that a recipe names are those of its run, by the run's digest; True if it names none."""
    try:
        return not list_own_files(recipe) or recipe.compute_digest() == digest
    except UserError:  # a file is gone
        return False


def _name_result(result: Result, recipe: Recipe) -> Result:
    return replace(result, digest=recipe.compute_digest(), group=recipe.compute_group())
