"""A run that is refused, by MLflow's store or before its training, leaves nothing behind."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from attncli import recipe
from attncli.errors import UserError
from attncli.run import distributed, execute
from attncli.track import RunStore


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


@pytest.mark.parametrize("setting", ["train.lr_factors={stage9: 0.1}", "train.accumulate=500"])
def test_what_cannot_be_trained_is_refused_before_the_run_begins(tmp_path: Path, setting: str) -> None:
    """There is no record, no recipe and no MLflow run of it."""
    chosen = recipe.read(overrides=["model.backbone=resnet20", "train.epochs=1", setting])
    with pytest.raises(UserError, match=setting.partition("=")[0]):
        execute.execute_run(chosen, run_store=RunStore(tmp_path, None), listener=Mock())
    assert not [path for path in tmp_path.rglob("*") if path.name in ("recipe.yaml", "log.jsonl", "mlflow.db")]


def test_other_processes_read_no_images_if_the_first_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """They end in silence at once: the first would wait for them, with NCCL not longer than ten minutes."""
    load = Mock()
    monkeypatch.setattr(distributed.train, "combine_flags", lambda accelerator, *flags: [False, False])
    with pytest.raises(SystemExit) as end:
        distributed.follow_main_rank(recipe.read(), Mock(), runs=Path("runs"), resume=True, load_dataset=load)
    assert (end.value.code, load.called) == (0, False)
