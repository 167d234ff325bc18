"""A recipe: everything that decides what a run does. Its keys, types and defaults are in one place, `sections.py`.

`read` merges a YAML file and command-line overrides, reports all errors at once, and returns a frozen Recipe whose
digest identifies the run.
"""

from attncli.recipe.file_identity import name_backbone_by_content, name_mechanism_by_content
from attncli.recipe.key_names import find_recipe_key
from attncli.recipe.library import find_recipe_file, list_recipe_files
from attncli.recipe.load import (
    PLACEMENT_KEYS,
    find_key_errors,
    merge_values,
    read,
    set_dotted_key,
    split_section,
)
from attncli.recipe.recipe import Recipe, format_content, is_default_late_key, read_class_list
from attncli.recipe.run_weights import locate_weights
from attncli.recipe.sections import Data, Measure, Model, Train
from attncli.recipe.yaml_loader import (
    compose_yaml,
    describe_yaml_error,
    format_yaml,
    load_yaml,
    parse_override,
    parse_yaml,
    suggest_yaml_fix,
)
from attncli.system.callable_module import make_module_callable

__all__ = [
    "PLACEMENT_KEYS",
    "Data",
    "Measure",
    "Model",
    "Recipe",
    "Train",
    "compose_yaml",
    "describe_yaml_error",
    "find_key_errors",
    "find_recipe_file",
    "find_recipe_key",
    "format_content",
    "format_yaml",
    "is_default_late_key",
    "list_recipe_files",
    "load_yaml",
    "locate_weights",
    "merge_values",
    "name_backbone_by_content",
    "name_mechanism_by_content",
    "parse_override",
    "parse_yaml",
    "read",
    "read_class_list",
    "set_dotted_key",
    "split_section",
    "suggest_yaml_fix",
]

make_module_callable(__name__, "attncli.api:read_recipe")
