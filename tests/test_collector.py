"""The garbage collector rests while modules are imported, and only then."""

import gc

import pytest

from attncli.collector import RARELY, rarely


def test_thresholds_are_put_back() -> None:
    """Within the block it looks rarely; afterwards as before, also after an error and within another block."""
    before = gc.get_threshold()
    with rarely():
        assert gc.get_threshold() == RARELY
        with rarely():
            pass
        assert gc.get_threshold() == RARELY
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), rarely():
        raise ZeroDivisionError
    assert gc.get_threshold() == before
