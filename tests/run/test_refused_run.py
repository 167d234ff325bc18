"""A run that MLflow's store refuses leaves nothing behind."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from attncli import recipe
from attncli.errors import UserError
from attncli.run import execute


@pytest.mark.parametrize("is_new", [True, False])
def test_a_refused_run_leaves_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool) -> None:
    """A new folder is emptied; one that was there keeps what it holds."""
    monkeypatch.setattr(execute, "describe_dataset", Mock())
    for name in ("origin.json", "checkpoint", *(() if is_new else ("recipe.yaml",))):
        (tmp_path / name).touch()
    tracker = Mock()
    tracker.start_run.side_effect = UserError("experiment 'x' was deleted", "restore it")
    with pytest.raises(UserError):
        execute._start_tracking(tracker, recipe.read(), Mock(), tmp_path, False, {})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == (set() if is_new else {"origin.json", "checkpoint", "recipe.yaml", "log.jsonl"})
