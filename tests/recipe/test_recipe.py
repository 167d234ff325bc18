"""Recipes: strict, complete in their errors, and named by what decides a run."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from attncli import recipe
from attncli.errors import CollectedError, UserError


def problems(*overrides: str, text: str = "", tmp: Path | None = None) -> list[str]:
    """The problems of a recipe, each with its hint."""
    path = None
    if tmp is not None:
        path = tmp / "r.yaml"
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        recipe.read(path, overrides)
    return [f"{e.problem} | {e.hint}" for e in caught.value.single_errors]


def test_override_beats_file(tmp_path: Path) -> None:
    """A key given on the command line replaces the file's, and the file's the default."""
    path = tmp_path / "r.yaml"
    path.write_text("train: {lr: 0.2, epochs: 3}\n")
    read = recipe.read(path, ["train.lr=0.05"])
    assert (read.train.lr, read.train.epochs, read.train.batch_size) == (0.05, 3, 128)


def test_numbers_like_1e_3_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text; a recipe reads a number, in files and overrides."""
    path = tmp_path / "r.yaml"
    path.write_text("train: {lr: 1e-3}\n")
    assert recipe.read(path).train.lr == 0.001
    assert recipe.read(None, ["train.lr=5e-1"]).train.lr == 0.5


def test_override_splits_at_the_first_equals_sign() -> None:
    """The value may hold `=`."""
    assert recipe.parse_override("data.root=/a=b/c") == ("data.root", "/a=b/c")


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("data.background=#ff0000", "#ff0000"),
        ("data.background='#ff0000'", "#ff0000"),
        ("data.root=/a/b #1", "/a/b #1"),
        ("data.unused_splits=['#recycle', b]", ["#recycle", "b"]),
        ("train.lr=0.1", 0.1),
        ("data.classes=null", None),
    ],
)
def test_overrides_have_no_comments(item: str, value: object) -> None:
    """A # would end the value in YAML, so that a colour meant nothing: the value of --set is all of the text."""
    assert recipe.parse_override(item)[1] == value


def test_a_colour_that_yaml_takes_for_a_comment(tmp_path: Path) -> None:
    """A file in which the colour is a comment is refused; in quotes it is the colour."""
    path = tmp_path / "mine.yaml"
    path.write_text("data:\n  background: #ff0000\n")
    with pytest.raises(UserError, match="a comment in YAML") as caught:
        recipe.read(path)
    assert "'#ff0000'" in caught.value.hint
    path.write_text("data:\n  background: '#ff0000'  # red\n")
    assert recipe.read(path).data.background == "#ff0000"


def test_all_errors_at_once_with_the_nearest_key() -> None:
    """Unknown keys, wrong types and values out of range are reported together, each with its dotted key."""
    errors = problems("train.lrr=3", "train.epochs=a", "modl.x=1", "train.batch_size=0", "train.optimizer=rmsprop")
    assert len(errors) == 5
    assert "train.lrr: unknown key | did you mean 'lr'?" in errors
    assert "modl: unknown key | did you mean 'model'?" in errors
    assert any(f.startswith('train.epochs: "a" is not allowed | allowed: integer') for f in errors)
    assert any("greater than 0" in f for f in errors)
    assert any("'sgd', 'adamw' or 'adam'" in f for f in errors)
    assert [("at least 2" in f, "validation" in f) for f in problems("data.image_size=[16]")] == [(True, False)]


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("train: {lr: 1\n", "line 2"),
        ("- 1\n", "a recipe is a mapping"),
        ("seed: 1\nseed: 2\n", "'seed' stands twice"),
        ("train: 3\n", "train: 3 is not allowed"),
        ("? {a: 1}\n: 2\n", "line 1"),
        ("seed: true\n", "seed: true is not allowed"),
    ],
)
def test_bad_files(text: str, expected_text: str, tmp_path: Path) -> None:
    """An unreadable or malformed file is one clear error that names the file."""
    (error,) = problems(text=text, tmp=tmp_path)
    assert expected_text in error
    assert "r.yaml" in error


def test_missing_file() -> None:
    """A recipe that is not there is a user's error."""
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file"):
        recipe.read(Path("nowhere.yaml"))


def test_override_without_a_value_is_refused() -> None:
    """`--set train.lr` has no value."""
    assert problems("train.lr") == ["--set train.lr: not of the form key=value | for example --set train.lr=0.05"]


def test_yaml_round_trip(tmp_path: Path) -> None:
    """A complete recipe written as YAML reads back as itself."""
    original = recipe.read(None, ["train.lr=1e-3", "data.classes=[a, b]", "model.options.k=3", "model.attn=eca"])
    path = tmp_path / "r.yaml"
    path.write_text(original.to_yaml())
    assert recipe.read(path) == original


def test_texts_that_look_like_numbers_stay_texts(tmp_path: Path) -> None:
    """A class named 1e3 is written in quotes, so that the recipe of a run can be read again."""
    original = recipe.read(None, ["data.classes=['1e3', '2', 'no']", "data.root='5e-1'"])
    path = tmp_path / "r.yaml"
    path.write_text(original.to_yaml())
    assert recipe.read(path) == original
    assert recipe.read(path).data.classes == ["1e3", "2", "no"]


def test_yaml_keeps_letters_of_every_language() -> None:
    """An umlaut in a path is written as it is, and read back."""
    text = recipe.format_yaml({"root": "Bilder/Vögel 鳥"})
    assert "Vögel 鳥" in text
    assert recipe.parse_yaml(text) == {"root": "Bilder/Vögel 鳥"}


def test_a_date_is_a_text(tmp_path: Path) -> None:
    """As in YAML 1.2: an experiment may be named by its day. It is written in quotes, as earlier versions need."""
    path = tmp_path / "r.yaml"
    path.write_text("experiment: 2026-11-30\n")
    assert recipe.read(path).experiment == "2026-11-30"
    assert recipe.read(None, ["experiment=2026-11-30"]).experiment == "2026-11-30"
    assert recipe.parse_override("experiment=2026-11-30 10:00:00")[1] == "2026-11-30 10:00:00"
    assert "experiment: '2026-11-30'" in recipe.read(path).to_yaml()


def test_digest_is_the_identity() -> None:
    """Keys that decide the run change the digest; paths of files, timing and experiment do not."""
    base = recipe.read()
    assert (
        base.compute_digest()
        == recipe.read(None, ["data.root=/x", "measure.repeats=9", "experiment=e"]).compute_digest()
    )
    changed = {
        recipe.read(None, [o]).compute_digest() for o in ("seed=1", "train.lr=0.2", "model.attn=eca", "data.flip=true")
    }
    assert len(changed | {base.compute_digest()}) == 5


@pytest.mark.parametrize("data", ["name=folder", "name=parquet", "name=clips,of=folder"])
def test_two_folders_of_own_images_are_two_runs(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's images are identified by their folder, however it is written; published ones are not."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    keys = [f"data.{key}" for key in data.split(",")]
    monkeypatch.chdir(tmp_path)
    a, again, b = (
        recipe.read(None, [*keys, f"data.root={root}"]).compute_digest() for root in ("a", tmp_path / "a", "b")
    )
    assert a == again != b
    assert (
        recipe.read(None, ["data.name=cifar10", "data.root=a"]).compute_digest()
        == recipe.read(None, ["data.name=cifar10"]).compute_digest()
    )


def test_digest_is_the_same_in_another_process() -> None:
    """Another process, with other hash seeds, finds the same digest: finished runs are found again."""
    code = "from attncli import recipe; print(recipe.read(None, ['train.lr=0.2']).compute_digest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == recipe.read(None, ["train.lr=0.2"]).compute_digest()


def test_group_ignores_the_seed_alone() -> None:
    """Runs of one group differ by the seed."""
    a, b = recipe.read(None, ["seed=1"]), recipe.read(None, ["seed=2"])
    assert a.compute_group() == b.compute_group()
    assert a.compute_group() != recipe.read(None, ["train.lr=0.2"]).compute_group()


def test_own_file_counts_by_its_content(tmp_path: Path) -> None:
    """A mechanism of the user's own is another run when its file changes, the same when it is moved."""
    (tmp_path / "a").mkdir()
    first, second = tmp_path / "mine.py", tmp_path / "a" / "mine.py"
    first.write_text("x = 1\n")
    second.write_text("x = 1\n")
    digest = recipe.read(None, [f"model.attn={first}"]).compute_digest()
    assert digest == recipe.read(None, [f"model.attn={second}"]).compute_digest()
    first.write_text("x = 2\n")
    assert digest != recipe.read(None, [f"model.attn={first}"]).compute_digest()


def test_baseline_differs_in_the_mechanism_alone() -> None:
    """The baseline keeps data, training and seed."""
    variant = recipe.read(None, ["model.attn=eca", "model.options.k=3", "model.stages=[1]", "seed=4"])
    assert variant.make_baseline() == recipe.read(None, ["seed=4"])


def test_flat_names_every_key() -> None:
    """The dotted form has each key of each section, as MLflow's parameters."""
    flat = recipe.read().flatten_keys()
    assert flat["train.lr"] == 0.1
    assert flat["seed"] == 0
    assert {k.partition(".")[0] for k in flat} == {"data", "model", "train", "measure", "seed"}


@pytest.mark.parametrize("names", ["[yes, no]", "[1, 2, 10]", "[a, 3]"])
def test_names_that_yaml_reads_as_values_need_quotes(names: str) -> None:
    """Class names such as yes, no and 1 are refused with a hint about quotes; in quotes they are names."""
    with pytest.raises(CollectedError) as caught:
        recipe.read(None, [f"data.classes={names}"])
    assert "quotes" in caught.value.hint
    assert recipe.read(None, ["data.classes=['yes', 'no']"]).data.classes == ["yes", "no"]


def test_a_section_as_a_mapping_changes_the_keys_that_it_has(tmp_path: Path) -> None:
    """The file's other keys stay; options of another mechanism do not, and a mapping of options is a value."""
    path = tmp_path / "r.yaml"
    path.write_text("train: {lr: 0.2, epochs: 3}\nmodel: {attn: eca, options: {k: 5}, site: mid}\n")
    read = recipe.read(path, ["train={epochs: 5}", "model={attn: se}"])
    assert (read.train.lr, read.train.epochs) == (0.2, 5)
    assert (read.model.attn, read.model.options, read.model.site) == ("se", {}, "mid")
    assert recipe.read(path, values={"model": {"options": {"k": 7}}}).model.options == {"k": 7}
    assert recipe.read(path, ["model={site: null}", "train={}"]).model.site is None
    assert problems("train=null") == ["train: null is not allowed | allowed: mapping"]
    assert problems("train={lrr: 1}") == ["train.lrr: unknown key | did you mean 'lr'?"]


def test_merge_keys(tmp_path: Path) -> None:
    """`<<` adds the keys of another mapping, which the own ones replace; a key that stands twice is refused still."""
    shared = "- &a {lr: 1, epochs: 2}\n- &b {<<: *a, epochs: 3}\n"
    assert recipe.parse_yaml(f"{shared}- {{<<: *b, seed: 4, lr: 5}}\n")[2] == {"lr": 5, "epochs": 3, "seed": 4}
    # *d is merged before the value of &d is made
    deep = "outer: {inner: {deep: &d {<<: &c {x: 1, y: 1}, x: 2}}}\nlast: {<<: *d, y: 3}\n"
    assert recipe.parse_yaml(deep) == {"outer": {"inner": {"deep": {"x": 2, "y": 1}}}, "last": {"x": 2, "y": 3}}
    several = "- &a {lr: 1, epochs: 2}\n- &b {lr: 3, momentum: 4}\n- <<: [*a, *b]\n"  # the first one wins
    assert recipe.parse_yaml(several)[2] == {"lr": 1, "epochs": 2, "momentum": 4}
    with pytest.raises(yaml.YAMLError, match="takes a mapping"):
        recipe.parse_yaml("<<: 3\n")
    for text in ("- &a {x: 1, x: 2}\n", "- &a {x: 1}\n- {<<: *a, y: 1, y: 2}\n"):
        with pytest.raises(yaml.YAMLError, match="stands twice"):
            recipe.parse_yaml(text)


def test_a_base_is_a_key_of_sweeps(tmp_path: Path) -> None:
    """A recipe that inherits is refused with what to do, and not with a key that looks like it."""
    [error] = problems(text="base: cifar\ntrain: {epochs: 3}\n", tmp=tmp_path)
    assert "base: unknown key" in error
    assert "attncli recipe cp" in error
