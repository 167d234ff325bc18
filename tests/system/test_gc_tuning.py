"""The garbage collector rests while modules are imported, and only then."""

import gc

import pytest

from attncli.system.gc_tuning import RELAXED_THRESHOLDS, relaxed_gc


def test_thresholds_are_put_back() -> None:
    """Within the block it looks rarely; afterwards as before, also after an error and within another block."""
    before = gc.get_threshold()
    with relaxed_gc():
        assert gc.get_threshold() == RELAXED_THRESHOLDS
        with relaxed_gc():
            pass
        assert gc.get_threshold() == RELAXED_THRESHOLDS
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), relaxed_gc():
        raise ZeroDivisionError
    assert gc.get_threshold() == before
