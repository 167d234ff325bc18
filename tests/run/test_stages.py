"""The stages of a run after its training."""

from unittest.mock import MagicMock

import pytest

from attncli.measure.throughput import UntimedError
from attncli.run import stages


def test_only_a_speed_that_is_missing_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sweep the speed was measured before, or is left out; a fault of the timing is not taken for that."""
    context = MagicMock()
    monkeypatch.setattr(stages, "cached_throughput", MagicMock(side_effect=UntimedError))
    assert stages._measure_speed(context, MagicMock()) is None
    assert "not measured before" in context.listener.on_warning.call_args.args[0]
    monkeypatch.setattr(stages, "cached_throughput", MagicMock(side_effect=KeyError("a fault")))
    with pytest.raises(KeyError):
        stages._measure_speed(context, MagicMock())
