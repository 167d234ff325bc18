"""What README and the help topics promise: the plug-in works, the commands, files and links exist."""

import re
from pathlib import Path

import pytest
import torch

from attncli import attention, validation
from tests.generate import tables
from tests.shared import ROOT

TOPICS = sorted((ROOT / "attncli" / "help").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *TOPICS]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
PAGES = sorted((ROOT / "recipes" / "results").glob("*.html"))


def read_document(path: Path) -> str:
    """The text of a document."""
    return path.read_text(encoding="utf-8")


def test_plug_in_of_the_contributing_topic_works(tmp_path: Path) -> None:
    """The mechanism shown is accepted as a file, with its option, and keeps the shape."""
    (code,) = re.findall(r"```python\n(.*?)```", read_document(ROOT / "attncli/help/contributing.md"), re.DOTALL)
    path = tmp_path / "mine.py"
    path.write_text(code)
    validation.read(None, [f"model.attn={path}", "model.options.start=0.5"])
    module = attention.load(str(path)).Attention(8, start=0.5)
    assert torch.equal(module(torch.ones(2, 8, 4, 4)), torch.full((2, 8, 4, 4), 0.5))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_commands_exist(path: Path) -> None:
    """Every `attncli WORD` of a code block or of code in a sentence names a command."""
    import click

    from attncli.commands import cli

    text = read_document(path)
    code = "\n".join([*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text),
                      *re.findall(r"^ {4}.*$", text, re.MULTILINE)])  # fmt: skip
    named = set(re.findall(r"(?:^|[\s/;])attncli ([a-z]+)\b", code, re.MULTILINE))
    assert named <= set(cli.list_commands(click.Context(cli)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_files_and_links_exist(path: Path) -> None:
    """Recipes, pictures and files of the project that a document names are there, and so is the target of a link."""
    text = read_document(path)
    named = set(re.findall(r"(?<![\w/])((?:recipes|attncli|tests)/[\w./-]+\.(?:yaml|png|py|md))", text))
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")}
    base = path.parent
    assert {n for n in named if not (ROOT / n).exists() and not re.search(r"[A-Z]{4}", n)} == set()
    assert {link for link in links if not (base / link).exists()} == set()


def test_every_topic_is_linked_from_the_readme() -> None:
    """A reader of README finds every help topic."""
    text = read_document(ROOT / "README.md")
    assert {topic.name for topic in TOPICS if f"attncli/help/{topic.name}" not in text} <= {"start.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.stem)
def test_nothing_is_left_to_fill_in(path: Path) -> None:
    """No placeholder is left."""
    assert not re.search(r"@@|TODO|FIXME", read_document(path))


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_shipped_pages_name_no_folder_of_a_machine(path: Path) -> None:
    """The command that makes a page again has only paths that anyone can type."""
    commands = [row for row in read_document(path).splitlines() if "attncli report" in row]
    assert commands
    assert not [row for row in commands if re.search(r"[ =](?:/|~|[A-Za-z]:\\)", row)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_are_good(path: Path) -> None:
    """Every recipe passes the check and opens with what it is and the command."""
    validation.read(path)
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert "attncli run" in path.read_text()
    assert second.startswith("#")


@pytest.mark.parametrize("topic", sorted(tables.TABLES))
def test_generated_tables_are_up_to_date(topic: str) -> None:
    """The table of a help topic is what `make generate` writes."""
    assert tables.insert_table(topic) == read_document(tables.find_help_file(topic)), "make generate"
