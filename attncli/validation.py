"""Check the names in a recipe: dataset, backbone, mechanism, options, files. No torch."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from attncli import attention, backbones, data, recipe
from attncli.attention.card import SITES
from attncli.backbones.user_network_file import find_class_count
from attncli.dataset_catalog import find_properties, has_origin, list_dataset_aliases
from attncli.errors import CollectedError, UserError, join_hints, suggest_name, unknown_name_error
from attncli.system.code_reference import is_code_reference
from attncli.system.files import expand_user_path
from attncli.system.source_inspection import ConstructorParameter


def read(
    path: Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None
) -> recipe.Recipe:
    """Return the recipe of a YAML file, `values` by dotted key and `key=value` overrides; see `recipe.merge_values`.

    Raises UserError for a file without a key, which is a mistake more often than a wish for the defaults, and else
    CollectedError that lists every error of form and of names.
    """
    if path is not None and not recipe.load_yaml(path):
        raise UserError(
            f"{path}: no key in it", "without a recipe `attncli run` trains the defaults; write what differs"
        )
    tree = recipe.merge_values(path, overrides, values)
    if errors := find_recipe_errors(tree, str(path) if path else ""):
        raise CollectedError(errors)
    return recipe.Recipe.model_validate(tree)


def find_recipe_errors(tree: Mapping[str, Any], file_name: str = "") -> list[UserError]:
    """Return every error of a recipe's tree, none for a valid one."""
    errors = [_suggest_axis(error, tree) for error in recipe.find_key_errors(tree, file_name)]
    prefix = f"{file_name}: " if file_name else ""
    model_section, data_section = _get_section(tree, "model"), _get_section(tree, "data")
    dataset = data_section.get("name")
    names_hub = isinstance(dataset, str) and has_origin(dataset, "hub")  # there data.of is a name on the hub
    checks = (
        (_check_name, (data_section, "data.name", "dataset", data.DATASETS, prefix)),
        (
            _check_name,
            ({} if names_hub else data_section, "data.of", "dataset", data.DATASETS, prefix),
        ),
        (_check_class_file, (data_section, prefix)),
        (_check_fold, (data_section, prefix)),
        (_check_balance, (_get_section(tree, "train"), prefix)),
        (_check_backbone, (model_section, prefix)),
        (_check_name, (model_section, "model.site", "site", SITES, prefix)),
        (_check_mechanism, (model_section, prefix)),
        (_check_weights_file, (model_section, prefix)),
    )
    for check, arguments in checks:
        try:
            errors += check(*arguments)
        except UserError as error:
            errors += error.single_errors
    return errors


def _suggest_axis(error: UserError, tree: Mapping[str, Any]) -> UserError:
    """Return the error of a key; for a list in place of one value with the hint that several are a sweep's axis."""
    for section_name in ("data", "model", "train"):
        for name, value in _get_section(tree, section_name).items():
            key = f"{section_name}.{name}"
            is_list = isinstance(value, list) and len(value) > 1
            if is_list and error.hint.startswith("allowed: ") and f"{key}: [" in error.problem:
                values = ", ".join(map(str, value))
                advice = f"several values are an axis of a sweep's file: axes: {{{key}: [{values}]}}"
                return UserError(error.problem, join_hints(error.hint, advice))
    return error


def check_image_size(recipe_: recipe.Recipe) -> None:
    """Raise UserError for a recipe that cannot train because its dataset's images have many sizes."""
    data_section = recipe_.data
    properties = find_properties(data_section.name)
    is_photographs = properties is not None and properties.origin in ("download", "request") and properties.side is None
    if is_photographs and data_section.image_size is None:
        raise UserError(
            f"data.image_size: the images of '{data_section.name}' differ in size",
            "--image-size 224 with --set data.crop=resized, or a recipe: `attncli recipe ls`",
        )


def _get_section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.get(name)
    return section if isinstance(section, Mapping) else {}


def _check_name(section: Mapping[str, Any], key: str, kind: str, known: Iterable[str], prefix: str) -> list[UserError]:
    value = section.get(key.partition(".")[2])
    if not isinstance(value, str) or value in known or (kind == "backbone" and value.startswith(backbones.TIMM_PREFIX)):
        return []
    aliases = {"dataset": list_dataset_aliases, "backbone": backbones.list_backbone_aliases}.get(kind, dict)()
    return [unknown_name_error(kind, value, known, location=f"{prefix}{key}", aliases=aliases)]


def _check_backbone(model_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return the errors of the backbone's name, or of the file of a user's network."""
    name = model_section.get("backbone")
    if not isinstance(name, str) or not is_code_reference(name):
        return _check_name(model_section, "model.backbone", "backbone", backbones.backbone_names(), prefix)
    try:
        find_class_count(name)
    except UserError as error:
        return [UserError(f"{prefix}model.backbone: {error.problem}", error.hint)]
    return []


def _check_class_file(data_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return the errors of the file that lists classes: that it can be read, not that the dataset has the classes."""
    class_file = data_section.get("classes")
    try:
        if isinstance(class_file, str):
            recipe.read_class_list(class_file)
    except UserError as error:
        return [UserError(f"{prefix}{error.problem}", error.hint)]
    return []


def _check_fold(data_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return the error of a fold that does not exist."""
    fold, folds = data_section.get("fold", 0), data_section.get("folds")
    if not isinstance(fold, int) or (folds is not None and not isinstance(folds, int)):
        return []
    if folds is None:
        return [UserError(f"{prefix}data.fold: there are no folds", "set data.folds too")] if fold else []
    hint = f"folds are numbered from 0 to {folds - 1}"
    return [UserError(f"{prefix}data.fold: {fold}: there is no such fold", hint)] if fold >= folds else []


def _check_balance(train_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return the error of classes that are balanced twice, which would favour the small ones."""
    if train_section.get("sampling") != "balanced" or train_section.get("class_weights") != "balanced":
        return []
    problem = f"{prefix}train.sampling: balanced: the classes are balanced by train.class_weights already"
    return [UserError(problem, "choose one of the two")]


def _check_mechanism(model_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return the errors of the mechanism's name, its file and its options."""
    name, options = model_section.get("attn", attention.NONE), model_section.get("options") or {}
    if not isinstance(name, str) or not isinstance(options, Mapping):
        return []
    if name == attention.NONE:
        return [UserError(f"{prefix}model.options: 'none' takes no options", "name a mechanism")] if options else []
    try:
        mechanism = attention.describe_mechanism(name)
    except UserError as error:
        return [
            UserError(f"{prefix}model.attn: {single_error.problem}", single_error.hint)
            for single_error in error.single_errors
        ]
    if not mechanism.parts:
        return _check_options(mechanism, options, f"{prefix}model.options.")
    sections = {part.option_section: part for part in mechanism.parts}
    errors = []
    for section, own_options in options.items():
        location = f"{prefix}model.options.{section}"
        if section not in sections:
            hint = f"options follow the name of the mechanism: model.options.{next(iter(sections))}.NAME=VALUE"
            errors.append(UserError(f"{location}: no mechanism of '{mechanism.name}'", hint))
        elif not isinstance(own_options, Mapping):
            errors.append(UserError(f"{location}: {own_options!r} is not allowed", f"write {location}.NAME=VALUE"))
        else:
            errors += _check_options(sections[section], own_options, f"{location}.")
    return errors


def _check_options(mechanism: attention.Mechanism, options: Mapping[str, Any], location: str) -> list[UserError]:
    """Return the errors of a mechanism's options, whose names follow `location` in messages."""
    return [
        single_error
        for key, value in options.items()
        for single_error in _check_option(mechanism, str(key), value, location)
    ]


def _check_weights_file(model_section: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Return an error if the file of pretrained weights is missing; its content is not checked."""
    weights_file = model_section.get("pretrained")
    if not isinstance(weights_file, str):
        return []
    if recipe.locate_weights(expand_user_path(weights_file, f"{prefix}model.pretrained")).is_file():
        return []
    return [
        UserError(
            f"{prefix}model.pretrained: {weights_file}: no such file",
            "give the path of a state dict or of a run's folder, or true for torchvision's weights",
        )
    ]


def _check_option(mechanism: attention.Mechanism, key: str, value: Any, prefix: str) -> list[UserError]:
    location, allowed, name = f"{prefix}{key}", mechanism.options, mechanism.reference
    if key not in allowed:
        hint = suggest_name(key, allowed) or f"'{name}' has no options"
        return [UserError(f"{location}: unknown option of '{name}'", hint)]
    type_ = _resolve_annotation(allowed[key])
    adapter = TypeAdapter(type_)
    for option_value in (tuple(value), value) if isinstance(value, list) else (value,):
        with suppress(ValidationError):
            adapter.validate_python(option_value, strict=True)
            return []
    hint = f"allowed: {allowed[key].type_text}"
    if isinstance(value, str) and get_origin(type_) is Literal:
        hint = join_hints(suggest_name(value, (c for c in get_args(type_) if isinstance(c, str))), hint)
    return [UserError(f"{location}: {value!r} is not allowed", hint)]


def _resolve_annotation(parameter: ConstructorParameter) -> Any:
    """Return the type that an option's annotation names, or Any if the file uses its own types."""
    try:
        return eval(parameter.annotation, {"__builtins__": {}}, {**_ANNOTATION_TYPES, "Literal": Literal})
    except (NameError, SyntaxError, TypeError, AttributeError):
        return Any


_ANNOTATION_TYPES = {t.__name__: t for t in (int, float, bool, str, tuple, list, dict)}


def build_json_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe with the existing names as completions; paths of files are allowed too."""
    recipe_schema = recipe.Recipe.model_json_schema()
    definitions = recipe_schema["$defs"]
    definitions["Data"]["properties"]["name"]["enum"] = sorted(data.DATASETS)
    definitions["Model"]["properties"]["backbone"]["anyOf"] = [
        {"enum": sorted(backbones.backbone_names())},
        {"pattern": f"^{backbones.TIMM_PREFIX}"},
        {"pattern": r"\.py:\w+$"},
    ]
    definitions["Model"]["properties"]["attn"]["anyOf"] = [
        {"enum": sorted((attention.NONE, *attention.mechanism_names()))},
        {"pattern": r"\.py(:\w+)?$"},
        {"pattern": r"\+"},
    ]
    return recipe_schema
