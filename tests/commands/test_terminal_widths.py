"""Every table of the command line in 40 to 200 columns: no figure is lost, no gap has two lines, and no line is wider,
but for one that is a single path or command, which is never broken.
"""

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

from attncli.system.terminal import LEAST_WIDTH, fill_text
from tests.claims.case import run
from tests.commands.line import line

WIDTHS = (40, 50, 60, 70, 80)
COMMANDS = (
    "compare --no-plot",
    "compare --no-plot --columns params,macs,top1,top5",
    "compare --no-plot --over dataset,backbone",
    "claims --attn eca,cbam",
    "claims eca-params -v",
    "claims run simam-acc-cifar --dry-run",
    "published --attn eca",
    "ls attention",
    "ls backbones",
    "ls matrix",
    "ls data",
    "ls recipes",
    "ls runs",
    "results ls",
    "results speeds",
    "data ls",
    "data verify digits",
    "recipe ls",
    "doctor",
    "sweep channel --dry-run",
    "help",
    "sites --attn eca --backbone resnet20",
    "measure --attn se,eca,ram --backbone resnet20 --no-speed",
)
NUMBER = re.compile(r"[-+<]?[\d.,]*\d%?")
CHANGING = ("doctor", "ls attention")  # free memory; titles are cut, and `--json` has all of each


def count_numbers(text: str) -> Counter[str]:
    """Return the numbers that stand alone, of which a table repeats none."""
    return Counter(word for word in text.split() if NUMBER.fullmatch(word))


@pytest.mark.parametrize("words", COMMANDS)
def test_no_line_is_wider_than_the_terminal(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that do not fit follow below, whatever the table; every number of the wide form is in the narrow one."""
    for attn in ("none", "se", "self-attention"):
        for seed in range(2):
            top1 = 0.5 + seed / 100 + len(attn) / 1000
            run(Path("runs"), attn=attn, seed=seed, top1=top1)
            run(Path("runs"), attn=attn, seed=seed, top1=top1, model__backbone="resnet18")
    monkeypatch.setenv("COLUMNS", "200")
    wide = line(*words.split())
    assert wide.code == 0, wide.err
    numbers = count_numbers(wide.out)
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        out = line(*words.split()).out
        cells = [re.split(r"  |(?= attncli )", text)[-1].strip() for text in out.splitlines() if cell_len(text) > width]
        assert all(fill_text(cell, LEAST_WIDTH // 2) == cell for cell in cells), out  # one path or command
        assert "\n\n\n" not in out, out
        if words not in CHANGING:
            assert not numbers - count_numbers(out), (width, numbers - count_numbers(out))


def test_notes_fit_a_terminal_and_stay_whole_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr: lines of 40 columns for people, whose words are whole; one line for what reads it."""
    monkeypatch.setenv("COLUMNS", "40")
    words = ("check", "--dataset", "folder", "--data-root", "no-such-folder-of-images", "--image-size", "32")
    piped = line(*words).err
    assert "images of no-such-folder-of-images: not here" in piped
    with monkeypatch.context() as patch:
        patch.setattr("attncli.commands._output.sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
        shown = line(*words).err
    assert shown.split() == piped.split()
    assert max(map(len, shown.splitlines())) <= 40 < max(map(len, piped.splitlines()))
