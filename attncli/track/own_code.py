"""The content of a user's own files at the time of the training, by which a changed file is known later."""

from collections.abc import Iterable

from attncli.recipe import Recipe
from attncli.recipe.file_identity import name_backbone_by_content, name_mechanism_by_content
from attncli.system.code_reference import is_code_reference, split_combination


def name_own_code(recipe: Recipe) -> dict[str, str]:
    """Return names that change with the content of the user's mechanisms and network, by their name in the recipe.

    Raises UserError if a file cannot be read.
    """
    members = [member for member in split_combination(recipe.model.attn) if is_code_reference(member)]
    names = {member: name_mechanism_by_content(member) for member in members}
    if is_code_reference(recipe.model.backbone):
        names[recipe.model.backbone] = name_backbone_by_content(recipe.model.backbone)
    return names


def list_changed_code(recipe: Recipe, trained_code: Iterable[str]) -> list[str]:
    """Return those of the user's files whose content now is none of `trained_code`, the names when it was trained."""
    contents = set(trained_code)  # without the paths, which the same files may have changed
    return [name for name, content in name_own_code(recipe).items() if content not in contents]
