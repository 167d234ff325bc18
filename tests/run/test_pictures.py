"""A run is done when its result is written: pictures that fail are a warning."""

from unittest.mock import MagicMock

import pytest

from attncli.errors import UserError
from attncli.run import execute
from attncli.train import Interrupted


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """What a run needs; its training is done."""
    monkeypatch.setattr(execute, "train_and_measure", lambda *_: "the result")
    context = MagicMock()
    context.folder.name = "ab12cd34"
    context.active_run.end_run.return_value = None
    context.active_run.__exit__.return_value = False
    return context


@pytest.mark.parametrize("error", [UserError("there is no checkpoint"), RuntimeError("there is no checkpoint\n  x")])
def test_a_run_whose_pictures_fail_is_finished(context: MagicMock, error: Exception) -> None:
    """Its checkpoint, or that of its plain network, may be deleted; the warning says how to draw them later."""
    assert execute._run_tracked(context, False, MagicMock(side_effect=error), MagicMock()) == "the result"
    context.active_run.end_run.assert_called_once_with("FINISHED")
    (warning,) = context.listener.on_warning.call_args.args
    assert "(there is no checkpoint)" in warning
    assert "`attncli look ab12cd34`" in warning


def test_what_the_pictures_lack_is_a_warning(context: MagicMock) -> None:
    """It is what the hook returns; a hook that returns nothing has drawn everything."""
    execute._run_tracked(context, False, lambda *_: "no plain network", MagicMock())
    assert [call.args for call in context.listener.on_warning.call_args_list] == [("no plain network",)]
    execute._run_tracked(context, False, lambda *_: None, MagicMock())
    assert context.listener.on_warning.call_count == 1


@pytest.mark.parametrize("error", [Interrupted("stopped"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_stop_or_a_full_disk_ends_the_run(context: MagicMock, error: BaseException) -> None:
    """They are no faults of the pictures: what follows would fail too."""
    with pytest.raises(type(error)):
        execute._run_tracked(context, False, MagicMock(side_effect=error), MagicMock())
    context.active_run.end_run.assert_not_called()
