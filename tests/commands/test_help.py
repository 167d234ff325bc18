"""`attncli help`: the topics listed, one of them printed, an unknown one refused."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attncli.commands.help import FOLDER, fit_widths, list_topics, render_topic
from tests.commands.line import line, refused


def test_topics_are_listed() -> None:
    """One line per topic with its title; stdout has nothing else."""
    lines = line("help").out.splitlines()
    assert [text.split()[0] for text in lines] == list_topics()
    assert all(len(text.split()) > 1 for text in lines)
    assert {"start", "troubleshooting"} <= set(list_topics())


@pytest.mark.parametrize("topic", list_topics())
def test_a_topic_is_plain_text_in_a_pipe(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither colours nor Markdown's marks, no wider than the terminal; its first line is a title."""
    monkeypatch.setenv("COLUMNS", "80")
    text = line("help", topic).out
    assert "\x1b" not in text
    assert "**" not in text
    assert (FOLDER / f"{topic}.md").read_text().startswith("# ")
    assert text.strip()


def test_code_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader can copy a command, on a narrow terminal too; a list and a heading have lost their marks."""
    monkeypatch.setenv("COLUMNS", "40")
    command = f"attncli run {'--set train.epochs=1 ' * 5}# a remark"
    for is_terminal in (False, True):
        assert command in render_topic(f"Words:\n\n    {command}\n\n```\n{command}\n```\n", is_terminal).replace(
            "\x1b[0m", ""
        )
    text = render_topic("# Title\n\nFirst:\n\n    attncli run --attn eca\n\n- **one** item\n", is_terminal=False)
    assert "attncli run --attn eca" in text
    assert "one item" in text
    assert "#" not in text


def test_names_and_numbers_of_tables_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns each mechanism has its name and its parameters in one line, and nothing is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    source = (FOLDER / "mechanisms.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \|.* ([\d,-]+)(?: in all)? \|$", source, re.MULTILINE)
    text = render_topic(source, is_terminal=False)
    assert len(rows) == len([row for row in source.splitlines() if row.startswith("| `")])
    assert [row for row in rows if not re.search(rf"^ {row[0]} .* {row[1]}(?: in)?$", text, re.MULTILINE)] == []
    assert "…" not in text
    assert "arxiv.org" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_widest_columns_are_narrowed_first() -> None:
    """Words stay whole while there is room for them; columns are never wider than the room."""
    assert fit_widths([4, 9], [4, 50], 60) == [4, 50]
    assert fit_widths([4, 9], [4, 50], 30) == [4, 26]
    assert fit_widths([4, 9, 5], [20, 50, 5], 30) == [12, 12, 5]
    assert fit_widths([12, 9], [12, 50], 20) == [11, 9]


def test_colours_are_readable_on_white_and_on_black(monkeypatch: pytest.MonkeyPatch) -> None:
    """Magenta alone: yellow and cyan vanish on white, blue on black."""
    monkeypatch.setenv("TERM", "xterm-256color")
    table, code = "| h | i |\n|---|---|\n| j | k |", "```python\nl = 'm'\n```"
    text = f"# A\n\n## B\n\n`c` **d** [e](https://f)\n\n1. g\n\n{table}\n\n{code}\n"
    codes = {code for codes in re.findall(r"\x1b\[([\d;]*)m", render_topic(text, True)) for code in codes.split(";")}
    assert "1" in codes
    assert {code for code in codes if len(code) == 2} <= {"35"}


def test_a_terminal_gets_pages(tmp_path: Path) -> None:
    """On a terminal the text goes through the pager."""
    pager = tmp_path / "pager"  # a command without arguments: click below 8.4 leaves them out
    pager.write_text("#!/bin/sh\nexec sed s/^/paged/\n")
    pager.chmod(0o755)
    parent, child = pty.openpty()
    environment = os.environ | {"PAGER": str(pager), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "attncli", "help", "start"], stdin=child, stdout=child, stderr=child, env=environment
    ) as process:
        os.close(child)
        output = b""
        while chunk := read_terminal(parent):
            output += chunk
    os.close(parent)
    assert process.returncode == 0
    assert output.startswith(b"paged")


def read_terminal(parent: int) -> bytes:
    """What the process has written to its terminal, empty at its end."""
    try:
        return os.read(parent, 65536)
    except OSError:  # the process has closed its end
        return b""


def test_unknown_topics() -> None:
    """The nearest topic, or the help of a command with this name."""
    refused(line("help", "strat"), "unknown topic: 'strat'", "'start'")
    assert line("help", "run").out.partition("\n")[2] == line("run", "--help").out.partition("\n")[2]
