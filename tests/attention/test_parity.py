"""Each mechanism against its official implementation."""

from pathlib import Path

import pytest

from attncli import attention
from tests.attention.case import own
from tests.attention.parity import TOLERANCE, compare
from tests.shared import SHARED, shared

NAMES = attention.mechanism_names()
FIXTURES = [  # of mechanisms that there are
    path
    for folder in ("parity", "parity-more")
    for path in sorted((SHARED / folder).glob("*.npz"))
    if any(path.stem == name or path.stem.startswith(f"{name}-") for name in NAMES)
]


@pytest.mark.parametrize("path", FIXTURES, ids=[path.stem for path in FIXTURES])
def test_equals_official(path: Path) -> None:
    """Output, input gradient and training output equal the official implementation's at 1e-9 in float64."""
    errors = compare(path)
    assert errors.ok, f"{errors} (tolerance {TOLERANCE})"


def test_every_mechanism_has_a_fixture() -> None:
    """No mechanism of ours is left without a comparison, unless its test file says why (`NO_OFFICIAL`)."""
    shared("parity")
    stems = {p.stem for p in FIXTURES}
    compared = {n for n in NAMES if any(s == n or s.startswith(n + "-") for s in stems)}
    explained = {n for n in NAMES if getattr(own(n), "NO_OFFICIAL", "")}
    assert set(NAMES) - compared == explained
