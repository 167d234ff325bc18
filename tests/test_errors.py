"""Messages and hints of errors."""

import pytest

from attncli.errors import suggest_name, unknown_name_error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ecaa", "did you mean 'eca'?"),
        ("vgg", "did you mean 'vgg16_bn'?"),
        ("resnet5", "did you mean 'resnet50'?"),
        ("qqq", "known: eca, resnet50, vgg16_bn"),
        ("v", "known: eca, resnet50, vgg16_bn"),
    ],
)
def test_the_nearest_name(name: str, hint: str) -> None:
    """The most alike, else one that begins as the name does, else all of them."""
    assert suggest_name(name, ["vgg16_bn", "eca", "resnet50"]) == hint


def test_unknown_says_what_and_where() -> None:
    """The place comes first; there is no hint if nothing is known."""
    error = unknown_name_error("backbone", "x", [], "model.backbone")
    assert (error.problem, error.hint) == ("model.backbone: unknown backbone: 'x'", "")
