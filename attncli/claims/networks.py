"""The networks that claims name: looked up and turned into recipes. Does not load torch."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from attncli import attention, backbones, validation
from attncli.analysis.network_key import ImageSpec
from attncli.attention import NONE
from attncli.backbones.compatibility import is_cifar_network
from attncli.claims import language
from attncli.claims.evaluate import find_biased_functions
from attncli.claims.figure_checks import check_figures
from attncli.claims.language import ACCURACY, EXACT, SPEED, LanguageError, NetworkExpression, Quantity
from attncli.dataset_catalog import find_properties, suggest_dataset
from attncli.errors import UserError, suggest_name
from attncli.recipe import Recipe
from attncli.system.code_reference import is_code_reference

BACKBONE_OPTIONS = ("stem", "replace", "last_stride")  # the options of a backbone: keys of `model`
ACCURACY_SETTINGS, IMAGE_SETTINGS = ("dataset", "recipe"), ("dataset", "size", "classes", "frames")
LARGE_SIDE, SMALL_SIDE = 224, 32  # px, of images that no one gives the size of
FRAMES = 8


def validate_claim_tree(tree: language.ClaimTree) -> None:
    """Raise LanguageError, with its position, for a network that cannot be built or a meaningless comparison."""
    for quantity in language.iterate_quantities(tree):
        list_recipe_values(quantity.network)
        _check_settings(quantity)
    for left_side, link in tree.link_pairs():
        _check_comparison(link, [q for side in (left_side, link) for q in language.iterate_quantities(side)])
        check_figures(left_side, link)
        for function in find_biased_functions(left_side, link):
            effect = "smaller" if function.name == "min" else "larger"
            raise LanguageError(
                function.at,
                f"{function.name} of measured figures, which noise alone makes {effect}",
                "allowed: abs(a - b) < t, a > max(b, c), a < min(b, c), min(a, b) > c, max(a, b) < c",
            )


def _check_settings(quantity: Quantity) -> None:
    """Raise LanguageError for a setting that changes nothing about this quantity, or with a value of another type."""
    allowed = ACCURACY_SETTINGS if quantity.name in ACCURACY else IMAGE_SETTINGS
    for key, value in quantity.settings:
        if key not in allowed:
            raise LanguageError(
                quantity.at, f"{key}: {quantity.name} has no such setting", f"it has {', '.join(allowed)}"
            )
        expected_type: type = str if key in ("dataset", "recipe") else int
        if not isinstance(value, expected_type):
            raise LanguageError(quantity.at, f"{key}: {value!r} is not allowed", f"allowed: a {expected_type.__name__}")
        if key == "dataset" and (hint := suggest_dataset(str(value))):
            raise LanguageError(quantity.at, f"unknown dataset: '{value}'", hint)


def _check_comparison(link: language.ComparisonLink, quantities: Sequence[Quantity]) -> None:
    """Raise LanguageError for a comparison that nothing can decide, given all its quantities."""
    names = {q.name for q in quantities}
    if not names:
        raise LanguageError(link.at, "a comparison without any quantity", "such as params(resnet50)")
    if names & SPEED.keys() and names & ACCURACY.keys():
        raise LanguageError(link.at, "speed and accuracy in one comparison", "join two comparisons by 'and'")
    if link.sign in ("==", "!=") and not names <= EXACT.keys():
        raise LanguageError(link.at, f"{link.sign} cannot be tested for measured quantities", "write ~ x +- tolerance")
    for key, noun, hint in (
        ("dataset", "on", "runs are paired on one dataset"),
        ("recipe", "of the recipes", "runs are paired within one recipe"),
    ):
        values = {dict(q.settings).get(key) for q in quantities if q.name in ACCURACY} - {None}
        if len(values) > 1:
            named = " and ".join(sorted(map(str, values)))
            raise LanguageError(link.at, f"accuracies {noun} {named} in one comparison", hint)


@cache
def list_recipe_values(network: NetworkExpression) -> Mapping[str, Any]:
    """Return the recipe keys of a network. Raises LanguageError for unknown names, with the nearest known one."""
    base, attn = network.base, network.attn
    values: dict[str, Any] = {}
    is_elsewhere = is_code_reference(base.name) or base.name.startswith(backbones.TIMM_PREFIX)
    if is_elsewhere or base.name in backbones.backbone_names():
        values["model.backbone"] = base.name
        for key, value in base.options:
            if key not in BACKBONE_OPTIONS:
                raise LanguageError(
                    base.at, f"unknown option of a backbone: '{key}'", suggest_name(key, BACKBONE_OPTIONS)
                )
            values[f"model.{key}"] = value
    elif base.name in list_whole_networks():
        if attn is not None:
            raise LanguageError(base.at, f"'{base.name}' is a whole network", "nothing can be added to it")
        attn = base
    else:
        raise LanguageError(
            base.at,
            f"unknown network: '{base.name}'",
            suggest_name(
                base.name,
                (*backbones.backbone_names(), *list_whole_networks()),
                aliases=backbones.list_backbone_aliases(),
            ),
        )
    if attn is not None and attn.name != NONE:
        if attn is not base and attn.name in list_whole_networks():
            raise LanguageError(attn.at, f"'{attn.name}' is a whole network", "write it without a backbone")
        values["model.attn"] = attn.name
        values["model.options"] = {key: _convert_tuples(value) for key, value in attn.options}
    places = {"site": network.site, "stages": network.stages, "blocks": network.blocks}
    values |= {f"model.{key}": _convert_tuples(value) for key, value in places.items() if value is not None}
    _check_recipe(values, network)
    return values


def _check_recipe(values: Mapping[str, Any], network: NetworkExpression) -> None:
    try:
        validation.read(values=values)
    except UserError as error:
        first_error = error.single_errors[0]
        at = network.attn.at if network.attn else network.at
        raise LanguageError(at, first_error.problem, first_error.hint) from error


@cache
def list_whole_networks() -> tuple[str, ...]:
    """Return the mechanisms that are whole networks."""
    return tuple(name for name in attention.mechanism_names() if attention.is_whole_network(name))


def _convert_tuples(value: Any) -> Any:
    return [_convert_tuples(v) for v in value] if isinstance(value, tuple) else value


@cache
def make_recipe(network: NetworkExpression) -> Recipe:
    """Return the default recipe with this network."""
    return validation.read(values=list_recipe_values(network))


def resolve_images(quantity: Quantity, claim_dataset: str | None, size: int | None) -> ImageSpec:
    """Return the images of a quantity: as its settings say, else its claim, else as is usual.

    Args:
        quantity: Of a network on images.
        claim_dataset: The dataset of the claim, if it names one.
        size: The side of the claim's images in pixels, if it says it.
    """
    settings: dict[str, Any] = dict(quantity.settings)
    dataset = settings.get("dataset", claim_dataset)
    is_small = is_made_for_small_images(quantity.network.base.name) or has_small_images(dataset)
    side = settings.get("size") or size or (SMALL_SIDE if is_small else LARGE_SIDE)
    properties = find_properties(dataset or "")
    classes = settings.get("classes") or (properties and properties.class_count) or (1000 if side >= 64 else 10)
    frames = settings.get("frames")
    attn = list_recipe_values(quantity.network).get("model.attn", NONE)
    mechanism = attention.resolve_mechanism(attn)
    if frames is None and mechanism is not None and mechanism.needs_clips:
        frames = FRAMES
    return ImageSpec(side, classes, frames)


def is_made_for_small_images(network: str) -> bool:
    """Return whether a network is a backbone of ours for images of 32 px only."""
    return network in backbones.backbone_names() and is_cifar_network(network)


def has_small_images(dataset: str | None) -> bool:
    """Return whether a dataset's images are of a size that CIFAR networks are built for."""
    properties = find_properties(dataset or "")
    return properties is not None and properties.side is not None and properties.side <= SMALL_SIDE
