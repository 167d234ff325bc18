"""Facts of what is told of a run: names, parameters, tags, the command to do it again."""

import shlex

import pytest

from attncli import recipe as recipes
from attncli.recipe.recipe import KEYS_ADDED_LATER
from attncli.shortcuts import SHORTCUT_KEYS
from attncli.track import tags
from attncli.track.provenance import ProcessIdentity, Provenance
from tests.track.recorded_runs import FACTS, recipe

ORIGIN = Provenance(
    digest="d" * 12, group="g" * 12, started_ms=0, process=ProcessIdentity(host="h", pid=1, started=2.0),
    commit="c" * 40, dirty=True, facts=FACTS, machine={"cpu": "x"},
)  # fmt: skip


def test_names():
    """Run: mechanism-backbone-seed (a whole network has no backbone); experiment: dataset-backbone, or as told."""
    assert tags.format_run_name(recipe(seed=3)) == "eca-resnet18-s3"
    assert tags.format_run_name(recipe("ram")) == "ram-s0"
    assert tags.format_run_name(recipe(model__replace="se")) == "eca@built-in-se-resnet18-s0"
    assert tags.choose_experiment_name(recipe()) == "digits-resnet18"
    assert tags.choose_experiment_name(recipe(experiment="mine")) == "mine"


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"name": "folder", "root": "/a/pets.v2"}, "pets.v2"),
        ({"name": "parquet", "root": "/a/pets.parquet"}, "pets"),
        ({"name": "hf", "of": "me/pets"}, "me-pets"),
        ({"name": "imagenette", "root": "/a/b"}, "imagenette"),
    ],
)
def test_images_have_a_name(keys, name):
    """Images of one's own are called as their folder or file, those of the hub as there, others by their data set."""
    assert tags.name_images(recipe(**{f"data__{key}": value for key, value in keys.items()})) == name


@pytest.mark.parametrize(
    ("root", "name"), [(".", "mini"), ("..", "mine"), ("link/..", "else"), ("~", "home"), ("/", "folder")]
)
def test_images_of_a_folder_without_a_name_are_called_as_the_folder(root, name, tmp_path, monkeypatch):
    """Also if the recipe is read in another folder later, as that of a run is. By its whole path it is the same run."""
    for folder in ("mine/mini", "home", "else/where"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "mine/mini/link").symlink_to(tmp_path / "else/where")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "mine/mini")
    of = recipe(data__name="folder", data__root=root)
    assert of.compute_digest() == recipe(data__name="folder", data__root=of.data.root).compute_digest()
    monkeypatch.chdir(tmp_path)
    written = recipes.Recipe.model_validate(recipes.parse_yaml(of.to_yaml()))
    assert tags.name_images(written) == name


def test_params_are_written_as_in_a_recipe():
    """Numbers, booleans, none and lists as YAML has them, options each under a key of their own."""
    found = tags.flatten_params(recipe(model__options={"gamma": 2.0}, model__stages=[1, -1], train__compile=True))
    assert found["model.options.gamma"] == "2.0"
    assert found["model.stages"] == "[1, -1]"
    assert found["train.compile"] == "true"
    assert found["data.root"] == "null"
    assert found["train.optimizer"] == "sgd"


def test_keys_that_came_later_are_told_when_set():
    """Runs made before a key was there have the parameters of runs that do not set it, so that they compare."""
    plain, changed = (tags.flatten_params(recipe(model__replace=value)) for value in (None, "se"))
    assert changed.keys() - plain.keys() == {"model.replace"}
    assert not any(
        key in plain for section, keys in KEYS_ADDED_LATER.items() for key in (f"{section}.{k}" for k in keys)
    )


def test_long_values_say_that_they_were_cut():
    """A value over MLflow's limit keeps within it and tells its length and where the whole is."""
    found = tags.flatten_params(recipe(data__classes=["x" * 9000]))["data.classes"]
    assert len(found) == tags.MAX_PARAM_LENGTH
    assert found.endswith("(9004 characters; whole in recipe.yaml)")


def test_tags():
    """The tags to group by, the origin, nothing empty."""
    found = tags.build_run_tags(recipe(seed=5), ORIGIN)
    assert {k: found[k] for k in ("attn", "backbone", "dataset", "category", "seed")} == {
        "attn": "eca", "backbone": "resnet18", "dataset": "digits", "category": "channel", "seed": "5",
    }  # fmt: skip
    assert found["git.commit"] == "c" * 40
    assert found["git.dirty"] == "true"
    assert found["data_digest"] == FACTS.digest
    assert all(found.values())


@pytest.mark.parametrize(("attn", "category", "label"), [("none", "none", "none"), ("./mine.py", "own", "mine")])
def test_category(attn, category, label):
    """No mechanism has none, a file of the user's own is `own` under its name."""
    found = tags.build_run_tags(recipe(attn), ORIGIN)
    assert (found["category"], found["attn"]) == (category, label)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"seed": 4, "train__lr": 1e-5, "train__step_epochs": [3, 6]},
        {"data__name": "folder", "data__root": "/my data/123", "model__options": {"k": "on", "r": 2}},
        {"data__classes": ["1", "null", "it's"], "train__clip_norm": 0.5},
        {"data__of": "1e3", "model__site": "no", "train__epochs": 3, "data__image_size": 32},
        {"data__image_size": [128, 256]},
    ],
)
def test_command_means_the_recipe(values):
    """The command of the description, read back, is the recipe."""
    wanted = recipe(**values)
    words = shlex.split(tags.format_run_command(wanted))[2:]
    given = list(zip(words[::2], words[1::2], strict=True))
    overrides = [value for option, value in given if option == "--set"]
    keys = {f"--{option.replace('_', '-')}": key for option, key in SHORTCUT_KEYS.items()}
    numbers = ("--seed", "--epochs", "--image-size")
    is_number = {(o, value): o in numbers and value.isdigit() for o, value in given}
    flags = {keys[o]: int(value) if is_number[o, value] else value for o, value in given if o != "--set"}
    assert not set(keys.values()) & {override.partition("=")[0] for override in overrides}
    assert recipes.read(None, overrides, flags) == wanted


def test_note_says_what_and_how():
    """The description names mechanism, data, code and the command."""
    text = tags.format_run_note(recipe(), ORIGIN)
    assert "`eca` in resnet18" in text
    assert "1000 training" in text
    assert "attncli run --attn eca" in text
    assert "uncommitted changes" in text
