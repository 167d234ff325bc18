"""Names and options, checked without torch."""

from pathlib import Path

import pytest

from attncli import validation
from attncli.errors import UserError
from attncli.recipe import Recipe


def problems(*overrides: str) -> list[str]:
    """The problems of a recipe given by overrides, each with its hint."""
    with pytest.raises(UserError) as caught:
        validation.read(None, overrides)
    return [f"{e.problem} | {e.hint}" for e in caught.value.single_errors]


@pytest.mark.parametrize(
    ("override", "expected_text"),
    [
        ("model.attn=ecaa", "model.attn: unknown attention: 'ecaa' | did you mean 'eca'?"),
        ("model.backbone=resnet19", "model.backbone: unknown backbone: 'resnet19' | did you mean 'resnet1"),
        ("data.name=cifar11", "data.name: unknown dataset: 'cifar11' | did you mean 'cifar10"),
        ("model.site=gait", "model.site: unknown site: 'gait' | did you mean 'gate'?"),
        ("model.options.k=3", "model.options: 'none' takes no options"),
        ("model.attn=./nowhere.py", "nowhere.py: No such file"),
    ],
)
def test_unknown_names(override: str, expected_text: str) -> None:
    """An unknown name is reported with its key and the nearest known one."""
    assert any(expected_text in p for p in problems(override))


def write_se_recipe(folder: Path) -> Path:
    """The file of a recipe with a mechanism that has options and a place."""
    path = folder / "se.yaml"
    path.write_text("model: {attn: se, options: {reduction: 4}, site: mid}\n")
    return path


@pytest.mark.parametrize("by_option", [True, False])
def test_another_mechanism_than_the_files_has_its_own_options(by_option: bool, tmp_path: Path) -> None:
    """As in a sweep: cbam was trained with the reduction of se. The place stays, and so do options that are given."""

    def read(attn: str, *overrides: str) -> Recipe:
        values, words = ({"model.attn": attn}, ()) if by_option else (None, (f"model.attn={attn}",))
        return validation.read(write_se_recipe(tmp_path), (*overrides, *words), values)

    assert (read("cbam").model.options, read("cbam").model.site) == ({}, "mid")
    assert read("cbam", "model.options.reduction=8").model.options == {"reduction": 8}
    assert read("se").model.options == {"reduction": 4}
    assert validation.read(write_se_recipe(tmp_path), ["model.stages=[1]"]).model.options == {"reduction": 4}


def test_no_mechanism_in_place_of_the_files_is_the_plain_network(tmp_path: Path) -> None:
    """It is the run that the other runs of the recipe are compared with, not a second one with a place for nothing."""
    path = write_se_recipe(tmp_path)
    for plain in (validation.read(path, values={"model.attn": "none"}), validation.read(path, ["model.attn=none"])):
        assert plain == validation.read(path).make_baseline()
        assert (plain.model.options, plain.model.site) == ({}, None)


def test_options_of_a_file_without_a_mechanism_are_those_of_the_one_that_is_given(tmp_path: Path) -> None:
    """Such a file describes any mechanism with these options."""
    path = tmp_path / "r.yaml"
    path.write_text("model: {options: {reduction: 4}}\n")
    assert validation.read(path, values={"model.attn": "se"}).model.options == {"reduction": 4}


def test_errors_of_form_and_of_names_come_together() -> None:
    """All errors at once, of either kind."""
    assert len(problems("train.lrr=1", "model.attn=ecaa", "data.name=cifar11", "train.epochs=x")) == 4


@pytest.mark.parametrize(
    ("option", "expected_text"),
    [
        ("kk=3", "unknown option of 'eca' | did you mean 'k'?"),
        ("k=x", "'x' is not allowed | allowed: int | tuple[int, ...] | None"),
        ("k=[3, a]", "[3, 'a'] is not allowed"),
        ("gamma=yes", "True is not allowed | allowed: float"),
    ],
)
def test_options_are_those_of_the_file(option: str, expected_text: str) -> None:
    """An option must be a keyword of the mechanism, with a value of its annotated type."""
    (error_line,) = problems("model.attn=eca", f"model.options.{option}")
    assert expected_text in error_line


def test_good_options_pass() -> None:
    """A list means a tuple, an integer for a float, and null for none."""
    read = validation.read(None, ["model.attn=eca", "model.options.k=[3, 5, 5, 7]", "model.options.gamma=2"])
    assert read.model.options == {"k": [3, 5, 5, 7], "gamma": 2}
    validation.read(None, ["model.attn=eca", "model.options.k=null"])


def test_own_file_needs_both_names(tmp_path: Path) -> None:
    """A user's file without `Attention`, or that is not Python, is named with what it lacks."""
    path = tmp_path / "mine.py"
    path.write_text("card = Card(title='t', venue='v', year=2020, arxiv=None, site='gate', code='')\n")
    assert "no `class Attention(nn.Module)`" in problems(f"model.attn={path}")[0]
    other = tmp_path / "broken.py"
    other.write_text("class Attention(:\n")
    assert "line 1: not valid Python" in problems(f"model.attn={other}")[0]


def test_schema_names_what_exists() -> None:
    """Editors complete the names of datasets, backbones and mechanisms."""
    parts = validation.build_json_schema()["$defs"]
    assert "eca" in parts["Model"]["properties"]["attn"]["anyOf"][0]["enum"]
    assert "resnet20" in parts["Model"]["properties"]["backbone"]["anyOf"][0]["enum"]


def test_a_list_of_classes_must_be_readable(tmp_path: Path) -> None:
    """A file of classes that is missing, empty or no text is named before anything begins."""
    (tmp_path / "empty.txt").write_text("# none\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, expected_text in (
        ("none.txt", "No such file"),
        ("empty.txt", "no class in it"),
        ("binary.txt", "not a text"),
    ):
        [error] = validation.find_recipe_errors({"data": {"classes": str(tmp_path / name)}})
        assert f"data.classes: {tmp_path / name}: {expected_text}" in error.problem
        assert error.hint


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        ({"data.name": "imagenet"}, True),
        ({"data.name": "imagenette"}, True),
        ({"data.name": "imagenet", "data.image_size": 224}, False),
        ({"data.name": "cifar10"}, False),
        ({"data.name": "clips"}, False),
        ({"data.name": "folder", "data.root": "images"}, False),
    ],
)
def test_photographs_need_an_image_size(values: dict[str, object], is_refused: bool) -> None:
    """Datasets whose images differ in size are refused before they are read; a folder may hold images of one size."""
    recipe = validation.read(values=values)
    if is_refused:
        with pytest.raises(UserError, match="image_size"):
            validation.check_image_size(recipe)
    else:
        validation.check_image_size(recipe)
