"""The folder `shared` beside the project's root, for tests that compare with it where it is there."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def shared(path: str) -> Path:
    """`path` in the shared folder; skips the test, saying so, where it is not there."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"shared/{path} is not beside this checkout")
    return found
