"""The README's promises: its plug-in works, its commands and files exist."""

import re
from pathlib import Path

import pytest
import torch

from attncli import attention, validation
from tests import readme
from tests.shared import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_plug_in_of_the_readme_works(tmp_path: Path) -> None:
    """The mechanism shown is accepted as a file, with its option, and keeps the shape."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(code)
    validation.read(None, [f"model.attn={path}", "model.options.start=0.5"])
    module = attention.load(str(path)).Attention(8, start=0.5)
    assert torch.equal(module(torch.ones(2, 8, 4, 4)), torch.full((2, 8, 4, 4), 0.5))


def test_commands_of_the_readme_exist() -> None:
    """Every `attncli WORD` names a command."""
    import click

    from attncli.commands import cli

    known = set(cli.list_commands(click.Context(cli)))
    named = set(re.findall(r"attncli ([a-z]+)\b", TEXT))
    assert named - known <= {"checks", "is", "on"}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(recipes/[\w./-]+\.(?:yaml|png))", TEXT))))
def test_files_of_the_readme_exist(path: str) -> None:
    """Recipes and pictures that are named are there."""
    assert (ROOT / path).exists()


def test_no_figure_is_left_to_fill_in() -> None:
    """No placeholder is left."""
    assert "@@" not in TEXT


RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_are_good(path: Path) -> None:
    """Every recipe passes the check and opens with what it is and the command."""
    validation.read(path)
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert "attncli run" in path.read_text()
    assert second.startswith("#")


def test_table_of_mechanisms_is_up_to_date() -> None:
    """The table is what `python -m tests.readme` writes."""
    assert readme.written(TEXT) == TEXT


def test_table_has_every_mechanism() -> None:
    """33 mechanisms, each with its own line."""
    assert len(attention.mechanism_names()) == 33
    assert all(TEXT.count(f"| `{name}` |") == 1 for name in attention.mechanism_names())
