"""What a run is filed under, settled before it trains: the files that its recipe names may be edited meanwhile."""

from dataclasses import dataclass

from attncli import attention
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.run.naming import name_network
from attncli.system.code_reference import is_code_reference, split_code_reference, split_combination


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """The digest and the group of a run, its network's name, and its mechanism's category ("" without one)."""

    digest: str
    group: str
    network: str
    category: str


def identify_run(recipe: Recipe, digest: str) -> RunIdentity:
    """Return the identity of a run that `digest` was computed for.

    Raises UserError if a file that the recipe names has changed since.
    """
    if has_changed_files(recipe, digest):
        raise UserError(
            f"{describe_named_files(recipe)} has changed since the run began", "the same command begins it anew"
        )
    attn = recipe.model.attn
    return RunIdentity(
        digest=digest,
        group=recipe.compute_group(),
        network=name_network(recipe),
        category="" if attn == attention.NONE else attention.describe_mechanism(attn).category,
    )


def has_changed_files(recipe: Recipe, digest: str) -> bool:
    """Return whether a file that a recipe names is not what it was when `digest` was computed, or is gone."""
    try:
        return recipe.compute_digest() != digest
    except UserError:
        return True


def describe_named_files(recipe: Recipe) -> str:
    """Return, for a message, the files that a recipe names, such as `mine.py`; else its images, or its mechanism."""
    code = (*split_combination(recipe.model.attn), recipe.model.backbone)
    names = [split_code_reference(reference)[0] for reference in code if is_code_reference(reference)]
    names += [value for value in (recipe.model.pretrained, recipe.data.classes) if isinstance(value, str)]
    return " or ".join(names) or recipe.data.root or recipe.model.attn
