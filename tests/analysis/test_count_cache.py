"""Counts hold for one state of the code: whatever may change a count changes the state."""

import shutil
import subprocess
import sys

import pytest

from attncli.analysis.count_cache import DECIDING_PARTS, PACKAGE, compute_state
from attncli.analysis.shipped_counts import COUNTING_MODULES


@pytest.fixture
def package(tmp_path):
    """Return a copy of the code that counts depend on."""
    for name in DECIDING_PARTS:
        copy = shutil.copytree if (PACKAGE / name).is_dir() else shutil.copy
        copy(PACKAGE / name, tmp_path / name)
    return tmp_path


def test_the_state_is_that_of_the_code(package):
    """A copy of the same code has the same state."""
    assert compute_state(package) == compute_state()


@pytest.mark.parametrize("name", DECIDING_PARTS)
def test_a_changed_file_changes_the_state(package, name):
    """A new file in a package changes the state, and so does a changed module."""
    path = package / name
    with (path / "new.py" if path.is_dir() else path).open("a") as file:
        file.write("# something else\n")
    assert compute_state(package) != compute_state()


def test_every_import_of_the_counting_code_is_covered():
    """What counting imports of attncli lies in the parts whose content is the state, or cannot change a count."""
    code = "import sys, attncli.measure.cost; print(*(m for m in sys.modules if m.startswith('attncli.')))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    imported = {module.split(".")[1] for module in modules}
    parts = {name.removesuffix(".py") for name in DECIDING_PARTS}
    without_counts = {"dataset_catalog", "errors", "quantities", "records", "spelling", "system"}  # no counts
    assert imported - parts <= without_counts
    of_measure = {module.split(".")[2] for module in modules if module.startswith("attncli.measure.")}
    assert of_measure - {"code_cache"} == set(COUNTING_MODULES)  # whose content decides whether shipped counts hold
