"""The stages of a run after its training."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest

from attncli.measure.throughput import UntimedError
from attncli.run import stages
from tests.train.case import dataset, recipe


def test_only_a_speed_that_is_missing_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sweep the speed was measured before, or is left out; a fault of the timing is not taken for that."""
    context = MagicMock()
    monkeypatch.setattr(stages, "cached_throughput", MagicMock(side_effect=UntimedError))
    assert stages._measure_speed(context, MagicMock()) is None
    assert "not measured before" in context.listener.on_warning.call_args.args[0]
    monkeypatch.setattr(stages, "cached_throughput", MagicMock(side_effect=KeyError("a fault")))
    with pytest.raises(KeyError):
        stages._measure_speed(context, MagicMock())


@pytest.mark.parametrize(
    ("fresh", "has_state", "is_told"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_a_run_resumes_only_from_a_checkpoint(tmp_path: Path, fresh: bool, has_state: bool, is_told: bool) -> None:
    """A folder that a first save left without its state is none."""
    (tmp_path / "checkpoint").mkdir()
    if has_state:
        (tmp_path / "checkpoint" / "state.json").write_text("{}")
    context = MagicMock(folder=tmp_path, recipe=recipe(), dataset=dataset())
    lines = list(stages._describe_training(context, fresh))
    assert any("resuming" in line for line in lines) == is_told
