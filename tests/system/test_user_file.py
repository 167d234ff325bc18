"""A user's file as a module: its classes find it by its name, and files of one name do not replace each other."""

import pickle
import sys
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.system.user_file import import_user_file

FILE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Widths:
    known: ClassVar[int] = NUMBER
    width: int = 3
"""


def test_dataclasses_and_pickles_find_their_module(tmp_path: Path) -> None:
    """Two files called own.py: each class is pickled and found again in its own module."""
    for number, folder in enumerate((tmp_path / "a", tmp_path / "b")):
        folder.mkdir()
        (folder / "own.py").write_text(FILE.replace("NUMBER", str(number)))
    first, second = (import_user_file(tmp_path / name / "own.py", "attncli_own_own") for name in "ab")
    for module, known in ((first, 0), (second, 1)):
        copied = pickle.loads(pickle.dumps(module.Widths(width=5)))
        assert (copied.width, copied.known) == (5, known)


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    """What was imported before stays; a module that is half made does not."""
    path = tmp_path / "own.py"
    path.write_text("raise ValueError('no')")
    names = set(sys.modules)
    with pytest.raises(UserError, match="line 1: fails on import"):
        import_user_file(path, "attncli_own_own")
    assert set(sys.modules) == names
    path.write_text("x = 1")
    module = import_user_file(path, "attncli_own_own")
    path.write_text("raise SystemExit(0)")
    with pytest.raises(SystemExit):
        import_user_file(path, "attncli_own_own")
    assert sys.modules[module.__name__] is module
