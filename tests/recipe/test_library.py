"""Recipes and sweeps are found by name from anywhere, the user's own first."""

from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.recipe import library, load_yaml
from attncli.sweep.parser import SweepFileParser
from tests.shared import ROOT

OWN = "# mine\ntrain: {epochs: 3}\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_own(name: str, text: str = OWN) -> Path:
    """A file below recipes/ of the current folder."""
    path = Path("recipes") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_file_of_the_repository_has_a_name() -> None:
    """The checkout's recipes and sweeps, each with its path, from another folder."""
    expected = {path.stem: path for path in (ROOT / "recipes").glob("*.yaml")}
    assert library.list_recipe_files("recipe") == expected
    assert set(library.list_recipe_files("sweep")) == {path.stem for path in (ROOT / "recipes/sweeps").glob("*.yaml")}


def test_an_installed_package_reads_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel has no recipes/ beside the package, and takes those in it."""
    (tmp_path / "shipped" / "sweeps").mkdir(parents=True)
    (tmp_path / "shipped" / "one.yaml").write_text(OWN)
    monkeypatch.setattr(library, "PACKAGED_FOLDER", tmp_path / "shipped")
    assert library.list_recipe_files("recipe") == {"one": tmp_path / "shipped" / "one.yaml"}


def test_the_current_folder_comes_first() -> None:
    """A file in recipes/ hides the shipped one of the same name; a path is taken as it is."""
    own = write_own("quickstart.yaml")
    assert library.find_recipe_file(Path("quickstart")) == own
    assert library.read_opening(own) == "mine"
    assert library.find_recipe_file(Path("cifar10-resnet20")) == ROOT / "recipes" / "cifar10-resnet20.yaml"
    assert library.find_recipe_file(Path("some/where.yaml")) == Path("some/where.yaml")


def test_a_file_of_the_current_folder_is_offered() -> None:
    """`attncli run mine` beside mine.yaml, which is in no folder of recipes."""
    Path("mine.yaml").write_text(OWN)
    with pytest.raises(UserError, match="unknown recipe: 'mine'") as error:
        library.find_recipe_file(Path("mine"))
    assert error.value.hint.startswith("did you mean the file mine.yaml?")


def test_a_folder_does_not_hide_the_recipe_of_its_name() -> None:
    """The images of a dataset are often in such a folder; a file of this name is taken, as a path."""
    shipped = ROOT / "recipes"
    for name in ("imagenet", "quickstart", "survey"):
        Path(name).mkdir()
    assert library.find_recipe_file(Path("quickstart")) == shipped / "quickstart.yaml"
    assert library.find_recipe_file(Path("survey"), "sweep") == shipped / "sweeps" / "survey.yaml"
    Path("quickstart").rmdir()
    Path("quickstart").write_text(OWN)
    assert library.find_recipe_file(Path("quickstart")) == Path("quickstart")


def test_a_name_may_have_a_dot() -> None:
    """A recipe named by its learning rate; its last part was taken for the suffix of a path."""
    own = write_own("lr0.1.yaml")
    assert library.find_recipe_file(Path("lr0.1")) == own
    parser = SweepFileParser(write_own("sweeps/mine.yaml", ""), {})
    assert parser.read_base({"base": "lr0.1"}) == {"train": {"epochs": 3}}
    assert not parser.errors


def test_unknown_names_are_refused() -> None:
    """The nearest name is offered; a sweep is no recipe, and the command that takes it is named."""
    with pytest.raises(UserError, match="unknown recipe: 'quickstar'") as error:
        library.find_recipe_file(Path("quickstar"))
    assert "'quickstart'" in error.value.hint
    with pytest.raises(UserError) as error:
        library.find_recipe_file(Path("channel"))
    assert error.value.hint == "attncli sweep channel"
    with pytest.raises(UserError) as error:
        library.find_recipe_file(Path("quickstart"), "sweep")
    assert error.value.hint == "attncli run quickstart"


@pytest.mark.parametrize("names", [(), ("evidence",)])
def test_unknown_results_are_refused(names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint has no empty part, whether attncli brings results or none; a known name is offered."""
    (tmp_path / "results").mkdir()
    for name in names:
        (tmp_path / "results" / f"{name}.results").touch()
    monkeypatch.setattr(library, "PACKAGED_FOLDER", tmp_path)
    with pytest.raises(UserError, match="'evidenc'") as error:
        library.find_shipped_results("evidenc")
    assert all(part.strip() for part in error.value.hint.split(";"))
    assert all(f"'{name}'" in error.value.hint for name in names)


def test_the_base_of_a_sweep_is_a_name_or_a_file_beside_it() -> None:
    """A bare name is looked up as everywhere; with a suffix it is a path from the sweep's folder."""
    write_own("base.yaml")
    for base in ("base", "../base.yaml"):
        parser = SweepFileParser(write_own("sweeps/mine.yaml", ""), {})
        assert parser.read_base({"base": base, "seed": 1}) == {"train": {"epochs": 3}, "seed": 1}
        assert not parser.errors


def test_a_file_of_windows_is_read_and_other_bytes_are_named() -> None:
    """UTF-16 with its mark, as PowerShell writes it, is read; Latin-1 is an error with its line, also in the list."""
    own = write_own("mine.yaml")
    own.write_text(OWN, encoding="utf-16")
    assert load_yaml(own) == {"train": {"epochs": 3}}
    assert library.read_opening(own) == "mine"
    own.write_bytes(b"# mine\nexperiment: caf\xe9\n")
    with pytest.raises(UserError, match="0xe9 in line 2") as error:
        load_yaml(own)
    assert "UTF-8" in error.value.hint
    assert "0xe9" in {path: what for _, _, path, what in library.iterate_openings()}[own]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """File systems refuse names of more than 255 bytes even when one only asks whether they are there."""
    with pytest.raises(UserError, match="too long"):
        load_yaml(tmp_path / f"{'x' * 300}.yaml")
