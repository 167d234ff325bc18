"""The width of lines: that of the terminal, or of COLUMNS, within limits; 80 where there is no terminal."""

import os
import subprocess
import sys

import pytest

from attncli.system.terminal import find_terminal_width, find_text_width

PRINT_WIDTH = [sys.executable, "-c", "from attncli.system.terminal import *; print(find_terminal_width())"]


@pytest.mark.parametrize(
    ("columns", "width", "text_width"), [("20", 40, 40), ("50", 50, 50), ("80", 80, 80), ("200", 200, 120)]
)
def test_columns(monkeypatch: pytest.MonkeyPatch, columns: str, width: int, text_width: int) -> None:
    """Tables take all of a wide terminal, text does not; below 40 columns both are broken."""
    monkeypatch.setenv("COLUMNS", columns)
    assert (find_terminal_width(), find_text_width()) == (width, text_width)


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
