"""A recipe: everything that decides what a run does, strict, with its defaults in one place (`sections`).

`read` merges a YAML file and command-line overrides, tells all errors at once, and gives a frozen Recipe
whose `digest` is the identity of the run.
"""

from attncli.recipe.reading import errors, merge, put, read
from attncli.recipe.sections import Data, Measure, Model, Recipe, Train, class_list, unset
from attncli.recipe.text import load_yaml, parse_override

__all__ = [
    "Data",
    "Measure",
    "Model",
    "Recipe",
    "Train",
    "class_list",
    "errors",
    "load_yaml",
    "merge",
    "parse_override",
    "put",
    "read",
    "unset",
]
