"""The width of lines: that of the terminal, or of COLUMNS, within limits; 80 where there is no terminal."""

import os
import subprocess
import sys

import pytest

from attncli.system.terminal import fill_text, find_terminal_width, find_text_width

PRINT_WIDTH = [sys.executable, "-c", "from attncli.system.terminal import *; print(find_terminal_width())"]


@pytest.mark.parametrize(
    ("columns", "width", "text_width"), [("20", 40, 40), ("50", 50, 50), ("80", 80, 80), ("200", 200, 120)]
)
def test_columns(monkeypatch: pytest.MonkeyPatch, columns: str, width: int, text_width: int) -> None:
    """Tables take all of a wide terminal, text does not; below 40 columns both are broken."""
    monkeypatch.setenv("COLUMNS", columns)
    assert (find_terminal_width(), find_text_width()) == (width, text_width)


@pytest.mark.parametrize(
    "whole",
    [
        "/data/my own pictures/train:", "`attncli run --attn none --backbone resnet20`", "'my own runs'",
        "--set data.bad=skip", "axes: {train.lr: [0.1, 0.3]}".partition(" ")[2], "a-file-with-hyphens-in-its-name.yaml",
        '"a value of spaces"',
    ],
)  # fmt: skip
def test_what_can_be_copied_is_not_broken(whole: str) -> None:
    """Whatever the width, no line ends within it; all other lines fit, and no word is lost."""
    is_path = whole.endswith(":")
    text = f"{whole} cannot be read" if is_path else f"it cannot be read: fix it or leave it out with {whole}; or both"
    for width in range(10, 90):
        lines = fill_text(text, width, first="> ", later="  ").splitlines()
        assert sum(whole in line for line in lines) == 1, lines
        assert all(len(line) <= max(width, len(whole) + 3) for line in lines), lines
        assert " ".join(line[2:] for line in lines) == text
    assert fill_text("attncli sweep mine.yaml --dry-run", 12) == "attncli sweep mine.yaml --dry-run"


def test_a_fraction_is_no_path() -> None:
    """Prose with a slash before a colon is broken as all prose is."""
    assert (
        max(map(len, fill_text("It learns 2 C^2/r numbers for each site, as SE does. Cost: small.", 30).split("\n")))
        <= 30
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no terminals of this kind")
def test_a_terminal_of_60_columns_and_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without COLUMNS the terminal is asked; what goes into a pipe or file has 80 columns, whatever the terminal."""
    import fcntl
    import pty
    import struct
    import termios

    monkeypatch.delenv("COLUMNS", raising=False)
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    subprocess.run(PRINT_WIDTH, stdin=other, stdout=other, stderr=other, check=True)
    assert os.read(own, 100).split() == [b"60"]
    piped = subprocess.run(PRINT_WIDTH, stdin=other, stderr=other, stdout=subprocess.PIPE, check=True)
    assert piped.stdout.split() == [b"80"]
    for descriptor in (own, other):
        os.close(descriptor)
