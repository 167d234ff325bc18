"""A recipe: everything that decides what a run does, strict, with its defaults in one place (`sections`).

`read` merges a YAML file and command-line overrides, tells all errors at once, and gives a frozen Recipe
whose `digest` is the identity of the run.
"""

from attncli.recipe.reading import find_key_errors, merge_values, set_dotted_key, read
from attncli.recipe.sections import Data, Measure, Model, Recipe, Train, read_class_list, is_default_late_key
from attncli.recipe.text import load_yaml, parse_override

__all__ = [
    "Data",
    "Measure",
    "Model",
    "Recipe",
    "Train",
    "read_class_list",
    "find_key_errors",
    "load_yaml",
    "merge_values",
    "parse_override",
    "set_dotted_key",
    "read",
    "is_default_late_key",
]
