"""`attncli recipe`: list, print, copy."""

from pathlib import Path

import pytest

from tests.commands.line import line, refused
from tests.shared import ROOT

SHIPPED = ROOT / "recipes" / "quickstart.yaml"


def test_a_recipe_is_listed_printed_and_copied() -> None:
    """The copy is the same file, listed as the user's own, and never written twice."""
    listed = {(row["kind"], row["name"]): row for row in line("recipe", "ls", "--json").json()}
    assert listed["recipe", "quickstart"]["from"] == "attncli"
    assert listed["recipe", "quickstart"]["what"]
    assert ("sweep", "channel") in listed
    assert line("recipe", "show", "quickstart").out == SHIPPED.read_text()
    assert line("recipe", "cp", "quickstart").out == "recipes/quickstart.yaml\n"
    assert Path("recipes/quickstart.yaml").read_text() == SHIPPED.read_text()
    listed = {(row["kind"], row["name"]): row for row in line("recipe", "ls", "--json").json()}
    assert listed["recipe", "quickstart"]["from"] == "recipes/"
    refused(line("recipe", "cp", "quickstart"), "recipes/quickstart.yaml")


def test_a_copied_sweep_finds_its_base() -> None:
    """It lands in recipes/sweeps/ and plans the same runs."""
    shipped = line("sweep", "channel", "--dry-run", "--json").json()
    assert line("recipe", "cp", "channel").out == "recipes/sweeps/channel.yaml\n"
    assert [row["digest"] for row in line("sweep", "channel", "--dry-run", "--json").json()] == [
        row["digest"] for row in shipped
    ]


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_is_no_recipe(text: str) -> None:
    """It is neither printed nor copied without a word, as no run would take it."""
    Path("empty.yaml").write_text(text)
    refused(line("recipe", "show", "empty.yaml"), "empty.yaml: the file is empty")
    refused(line("recipe", "cp", "empty.yaml"), "empty.yaml: the file is empty")
    refused(line("run", "empty.yaml"), "empty.yaml: no key in it")
    assert not Path("recipes").exists()


def test_unknown_names_are_refused() -> None:
    """By every command that takes a recipe; a run does not take a sweep."""
    refused(line("recipe", "show", "quickstar"), "'quickstart'")
    refused(line("recipe", "show", "nowhere.yaml"), "nowhere.yaml")
    refused(line("run", "cifar10-resnet2"), "'cifar10-resnet20'")
    refused(line("run", "channel"), "attncli sweep channel")
    refused(line("check", "channel"), "attncli sweep channel")
