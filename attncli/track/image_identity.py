"""Runs of the same recipe on other images: a changed dataset is another run, and pairs with no run of the old one."""

from collections.abc import Callable
from pathlib import Path

from attncli import data, records
from attncli.recipe import Data, Recipe
from attncli.records import Result
from attncli.track.provenance import read_finished_result, read_provenance

DigestReader = Callable[..., str | None]  # data.read_digest, or a cached one


def pin_changed_images(recipe: Recipe, runs: Path, read_digest: DigestReader = data.read_digest) -> Recipe:
    """Return the recipe, or with data.content if the run of its digest has other images than there are now.

    With data.content the recipe has another digest, so the earlier run stays as it is. Recipes of published images are
    returned unchanged. Images are read only if their files may have changed.

    Raises:
        UserError: if the images have to be read, and cannot be.
    """
    if recipe.data.content is not None or not data.has_changeable_files(recipe.data):
        return recipe
    recorded_digest = read_data_digest(runs / recipe.compute_digest())
    if recorded_digest is None:
        return recipe
    digest = read_digest(recipe.resolve_data(), cache=runs / "cache")
    return recipe if digest in (None, recorded_digest) else recipe.pin_content(digest)


def describe_changed_images(recipe: Recipe, pinned_recipe: Recipe) -> str:
    """Return a line for the user about a recipe that `pin_changed_images` changed."""
    return (
        f"the images of {recipe.data.root or recipe.data.of or recipe.data.name} are not those of the run "
        f"{recipe.compute_digest()}: this is another run, {pinned_recipe.compute_digest()}"
    )


def cache_digests() -> DigestReader:
    """Return a `data.read_digest` that remembers its answers, for the recipes of one plan."""
    digests: dict[str, str | None] = {}

    def read_cached(recipe: Data, *, cache: Path) -> str | None:
        key = recipe.model_dump_json()
        if key not in digests:
            digests[key] = data.read_digest(recipe, cache=cache)
        return digests[key]

    return read_cached


def read_data_digest(folder: Path) -> str | None:
    """Return the digest of the images that the run in a folder was trained on, or None if none is recorded."""
    provenance = read_provenance(folder)
    if provenance is not None and provenance.facts is not None:
        return provenance.facts.digest
    result = records.read_result(folder)
    return result.data_digest or None if result else None


def find_finished_result(runs: Path, recipe: Recipe, data_digest: str) -> Result | None:
    """Return the result of a recipe on the images with this digest, or None if there is none."""
    for candidate in (recipe.pin_content(None), recipe.pin_content(data_digest)):
        result = read_finished_result(runs / candidate.compute_digest())
        if result is not None and result.data_digest == data_digest:
            return result
    return None
