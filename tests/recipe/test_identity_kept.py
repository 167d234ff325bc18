"""The digests of recipes that runs have been made of: a new key must not change them."""

import warnings
from pathlib import Path

import pytest

from attncli import recipe
from attncli.recipe.recipe import KEYS_ADDED_LATER

RECIPES = Path(__file__).parents[2] / "recipes"
KEPT = {
    "cifar10-resnet18-fast": "f29008010d54",
    "cifar10-resnet18": "743e0f85c8f9",
    "cifar10-resnet20": "b1c60d7c2ab0",
    "clips-tam": "a0ac14a3e7f5",
    "cluttered-ram": "61e841670f07",
    "cluttered-stn": "2eae8a73c3ae",
    "digits-ram": "51a8cd0bd6ba",
    "folder": "f973a25d90c1",
    "quickstart": "75721070049d",
}
LATER_KEYS = [(section, key) for section, keys in KEYS_ADDED_LATER.items() for key in sorted(keys)]


@pytest.mark.parametrize("name", KEPT)
def test_recipes_keep_their_digests(name: str) -> None:
    """A recipe of the first release names the runs it named then."""
    assert recipe.read(RECIPES / f"{name}.yaml").compute_digest() == KEPT[name]


def test_groups_and_options_keep_their_digests() -> None:
    """Neither the group of the default recipe nor a mechanism's options have changed their digest."""
    assert recipe.read().compute_group() == "9100d1936c2a"
    assert recipe.read(None, ["model.attn=eca", "model.options.gamma=3.0"]).compute_digest() == "01c0d8401b35"
    assert recipe.read(None, ["data.name=clips", "model.attn=tam"]).compute_digest() == "d738cf121fe9"


def test_later_keys_are_keys() -> None:
    """Every key that is left out at its default is one of its section."""
    for section, keys in KEYS_ADDED_LATER.items():
        assert keys <= type(getattr(recipe.read(), section)).model_fields.keys()


@pytest.mark.parametrize(("section", "key"), LATER_KEYS)
def test_a_later_key_that_is_set_is_identity(section: str, key: str) -> None:
    """At another value than its default a later key makes another run."""
    base = (
        recipe.read()
    )  # a file's path is another value for every key, and one that can be read for those that name files
    changed = getattr(base, section).model_copy(update={key: __file__})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydantic's, as the value need not be of the key's type
        assert base.model_copy(update={section: changed}).compute_digest() != base.compute_digest()
