"""What a recipe's form can't tell: whether its names exist and its parts go together. No torch needed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from attncli import attention, backbones, data, recipe
from attncli.attention.card import SITES
from attncli.errors import CollectedError, UserError, nearest, unknown
from attncli.source import Parameter


def read(
    path: Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None
) -> recipe.Recipe:
    """The recipe of a YAML file, `values` by dotted key and `key=value` overrides.

    Raises CollectedError with every problem of form and of names at once.
    """
    tree = recipe.merge(path, overrides, values)
    if found := problems(tree, str(path) if path else ""):
        raise CollectedError(found)
    return recipe.Recipe.model_validate(tree)


def problems(tree: Mapping[str, Any], where: str = "") -> list[UserError]:
    """Every error of a recipe's tree; empty for a good one."""
    found = recipe.errors(tree, where)
    prefix = f"{where}: " if where else ""
    model, images = _section(tree, "model"), _section(tree, "data")
    checks = (
        (_known, (images, "data.name", "dataset", data.NAMES, prefix)),
        (_known, ({} if images.get("name") == data.HUB else images, "data.of", "dataset", data.NAMES, prefix)),
        (_class_list, (images, prefix)),
        (_known, (model, "model.backbone", "backbone", backbones.names(), prefix)),
        (_known, (model, "model.site", "site", SITES, prefix)),
        (_mechanism, (model, prefix)),
        (_weights, (model, prefix)),
    )
    for check, arguments in checks:
        try:
            found += check(*arguments)
        except UserError as error:
            found += error.parts
    return found


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.get(name)
    return section if isinstance(section, Mapping) else {}


def _known(section: Mapping[str, Any], key: str, kind: str, known: Iterable[str], prefix: str) -> list[UserError]:
    value = section.get(key.partition(".")[2])
    if not isinstance(value, str) or value in known or (kind == "backbone" and value.startswith(backbones.TIMM)):
        return []
    return [unknown(kind, value, known, where=f"{prefix}{key}")]


def _class_list(images: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Errors of the file that lists classes: whether it can be read, not whether the dataset has them."""
    given = images.get("classes")
    try:
        if isinstance(given, str):
            recipe.class_list(given)
    except UserError as error:
        return [UserError(f"{prefix}{error.problem}", error.hint)]
    return []


def _mechanism(model: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Errors of the mechanism's name, its file and its options."""
    name, options = model.get("attn", attention.NONE), model.get("options") or {}
    if not isinstance(name, str) or not isinstance(options, Mapping):
        return []
    if name == attention.NONE:
        return [UserError(f"{prefix}model.options: 'none' takes no options", "name a mechanism")] if options else []
    try:
        allowed = attention.describe(name).options
    except UserError as error:
        return [UserError(f"{prefix}model.attn: {e.problem}", e.hint) for e in error.parts]
    return [e for key, value in options.items() for e in _option(name, str(key), value, allowed, prefix)]


def _weights(model: Mapping[str, Any], prefix: str) -> list[UserError]:
    """Errors of the file of pretrained weights: whether it is there, not what it holds."""
    given = model.get("pretrained")
    if not isinstance(given, str) or Path(given).expanduser().is_file():
        return []
    return [
        UserError(
            f"{prefix}model.pretrained: {given}: no such file", "true loads torchvision's; a path names a state dict"
        )
    ]


def _option(name: str, key: str, value: Any, allowed: dict[str, Parameter], prefix: str) -> list[UserError]:
    where = f"{prefix}model.options.{key}"
    if key not in allowed:
        hint = nearest(key, allowed) or f"'{name}' has no options"
        return [UserError(f"{where}: unknown option of '{name}'", hint)]
    given = tuple(value) if isinstance(value, list) else value
    try:
        TypeAdapter(_type(allowed[key])).validate_python(given, strict=True)
    except ValidationError:
        return [UserError(f"{where}: {value!r} is not allowed", f"allowed: {allowed[key].annotation}")]
    return []


def _type(parameter: Parameter) -> Any:
    """The type that an option's annotation names; anything where the file uses types of its own."""
    try:
        return eval(parameter.annotation, {"__builtins__": {}}, {**_TYPES, "Literal": Literal})
    except (NameError, SyntaxError, TypeError, AttributeError):
        return Any


_TYPES = {t.__name__: t for t in (int, float, bool, str, tuple, list, dict)}


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe, with the names that exist here as completions (other files may be named too)."""
    whole = recipe.Recipe.model_json_schema()
    parts = whole["$defs"]
    parts["Data"]["properties"]["name"]["enum"] = sorted(data.NAMES)
    parts["Model"]["properties"]["backbone"]["anyOf"] = [
        {"enum": sorted(backbones.names())},
        {"pattern": f"^{backbones.TIMM}"},
    ]
    parts["Model"]["properties"]["attn"]["anyOf"] = [
        {"enum": sorted((attention.NONE, *attention.names()))},
        {"pattern": r"\.py$"},
    ]
    return whole
