"""Messages and hints of errors."""

import pytest

from attncli.errors import CollectedError, UserError, suggest_name, unknown_name_error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ecaa", "did you mean 'eca'?"),
        ("vgg", "did you mean 'vgg16_bn'?"),
        ("resnet5", "did you mean 'resnet50'?"),
        ("qqq", "known: eca, resnet50, vgg16_bn"),
        ("v", "known: eca, resnet50, vgg16_bn"),
        ("ecb", "did you mean 'eca'?"),
        ("rseent50", "did you mean 'resnet50'?"),
        ("vvg", "did you mean 'vgg16_bn'?"),
    ],
)
def test_the_nearest_name(name: str, hint: str) -> None:
    """The most alike, else one that begins as the name does, else all of them."""
    assert suggest_name(name, ["vgg16_bn", "eca", "resnet50"]) == hint


def test_a_name_in_another_form_of_unicode() -> None:
    """Two names that look the same are not suggested for each other without a word."""
    assert "another form of Unicode" in suggest_name("caf\u00e9", ["cafe\u0301", "cat"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ECA", "did you mean 'eca'?"),
        ("resnet-50", "did you mean 'resnet50'?"),
        ("VGG16 BN", "did you mean 'vgg16_bn'?"),
        ("ECA_Layer", "did you mean 'eca'?"),
        ("k-net", "did you mean 'eca' with --set model.options.k=3?"),
        ("vgg1", "did you mean 'vgg16_bn'?"),
    ],
)
def test_case_signs_and_other_names(name: str, hint: str) -> None:
    """Letter case, hyphens and underscores do not count; other names of a thing lead to it."""
    aliases = {"eca-layer": "'eca'", "knet": "'eca' with --set model.options.k=3", "vgg0": "'eca'"}
    assert suggest_name(name, ["vgg16_bn", "eca", "resnet50"], aliases) == hint


def test_the_beginning_of_another_name() -> None:
    """A word of four letters or more that other names begin with leads to what they mean, if these are few."""
    aliases = {
        "squeeze-and-excitation": "'se'",
        "SqueezeExcite": "'se'",
        "omni-directional kernels": "'gc'",
        "omni-dimensional weights": "'gp'",
    }
    aliases |= {f"several blocks of kind {k} together": f"'{k}'" for k in range(6)}
    known = ["se", "gc", "gp", *map(str, range(6))]
    assert suggest_name("squeeze", known, aliases) == "did you mean 'se'?"
    assert suggest_name("omni", known, aliases) == "did you mean 'gc' or 'gp'?"
    for word in ("squ", "several"):
        assert suggest_name(word, known, aliases).startswith("known: ")


def test_unknown_says_what_and_where() -> None:
    """The place comes first; there is no hint if nothing is known."""
    error = unknown_name_error("backbone", "x", [], "model.backbone")
    assert (error.problem, error.hint) == ("model.backbone: unknown backbone: 'x'", "")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain café 猫", "plain café 猫"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), r"caf\xe9.png"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
    ],
)
def test_messages_can_be_printed_in_one_line(text: str, printed: str) -> None:
    """A name of a file may hold any byte; a message that names it is one line of valid UTF-8."""
    error = UserError(text, text)
    assert (error.problem, error.hint, str(error)) == (printed, printed, printed)


def test_collected_errors_have_a_line_each() -> None:
    """Each error is one line; the lines of several stay apart."""
    assert str(CollectedError([UserError("a\nb"), UserError("c")])) == "a\\nb\nc"


def test_a_name_is_listed_once() -> None:
    """Several runs may have one name, and a command and a topic of help too."""
    assert suggest_name("x", ["runs", "data", "runs"]) == "known: data, runs"
