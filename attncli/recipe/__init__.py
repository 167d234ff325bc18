"""A recipe: everything that decides what a run does, strict, with its defaults in one place (`sections`).

`read` merges a YAML file and command-line overrides, tells all errors at once, and gives a frozen Recipe
whose `digest` is the identity of the run.
"""

from attncli.recipe.load import find_key_errors, merge_values, read, set_dotted_key
from attncli.recipe.schema import Data, Measure, Model, Recipe, Train, is_default_late_key, read_class_list
from attncli.recipe.yaml_loader import load_yaml, parse_override

__all__ = [
    "Data",
    "Measure",
    "Model",
    "Recipe",
    "Train",
    "find_key_errors",
    "is_default_late_key",
    "load_yaml",
    "merge_values",
    "parse_override",
    "read",
    "read_class_list",
    "set_dotted_key",
]
