"""A user's file as a module: its classes find it by its name, and files of one name do not replace each other."""

import pickle
import sys
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.system.local_imports import find_local_modules
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


def write(path: Path, text: str) -> Path:
    """A file in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


IMPORTS = {
    "relative": "from .common import FACTOR",
    "relative module": "from . import common\nFACTOR = common.FACTOR",
    "two folders up": "from ..models.common import FACTOR",
    "full name": "from models.common import FACTOR",
    "another package": "from tools.number import FACTOR",
}


@pytest.mark.parametrize("form", IMPORTS)
@pytest.mark.parametrize("marker", ["models/__init__.py", ".git"])
def test_a_file_of_a_project_imports_as_its_project_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, marker: str
) -> None:
    """From the folder of the project or elsewhere, with packages or plain folders; what it imports is part of it."""
    project = tmp_path / "project"
    write(project / "pyproject.toml", "")
    write(project / marker, "raise ImportError('not needed')" if "init" in marker else "")
    write(project / "models/common.py", "FACTOR = 3")
    write(project / "tools/number.py", "FACTOR = 3")
    path = write(project / "models/gate.py", IMPORTS[form])
    if form == "full name":
        write(project / "models/__init__.py", "") if "init" in marker else None
    for folder in (tmp_path, project):
        monkeypatch.chdir(folder)
        assert import_user_file(path, "attncli_own_gate").FACTOR == 3
    helper = "tools/number.py" if form == "another package" else "models/common.py"
    assert project / helper in find_local_modules(path).values()
    write(project / helper, "FACTOR = 45")
    assert import_user_file(path, "attncli_own_gate").FACTOR == 45


def test_two_projects_with_equal_names_stay_apart(tmp_path: Path) -> None:
    """Each file gets the module of its own project, though both are called models.common."""
    factors = []
    for number in (1, 2):
        project = tmp_path / str(number)
        write(project / ".git", "")
        write(project / "models/common.py", f"FACTOR = {number}")
        for name, text in (("a", "from models.common import FACTOR"), ("b", "from .common import FACTOR")):
            factors.append(import_user_file(write(project / f"models/{name}.py", text), "attncli_own_x").FACTOR)
    assert factors == [1, 1, 2, 2]


def test_an_installed_package_goes_before_a_folder_of_the_project(tmp_path: Path) -> None:
    """A clone of a library beside the user's files does not replace what is installed."""
    write(tmp_path / ".git", "")
    write(tmp_path / "yaml/__init__.py", "safe_load = None")
    path = write(tmp_path / "mine/gate.py", "import yaml\nLOAD = yaml.safe_load")
    assert find_local_modules(path) == {}
    assert import_user_file(path, "attncli_own_gate").LOAD is not None


def test_a_file_of_a_package_that_fails_leaves_no_module(tmp_path: Path) -> None:
    """Nor do the packages above it."""
    path = write(tmp_path / "models/gate.py", "from .common import FACTOR\nraise ValueError('no')")
    write(tmp_path / "models/common.py", "FACTOR = 1")
    names = set(sys.modules)
    with pytest.raises(UserError, match="line 2: fails on import"):
        import_user_file(path, "attncli_own_gate")
    assert set(sys.modules) == names


def test_a_module_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """The hint says what to install."""
    with pytest.raises(UserError) as caught:
        import_user_file(write(tmp_path / "gate.py", "import mmengine_x.cnn"), "attncli_own_gate")
    assert "install mmengine_x" in caught.value.hint
