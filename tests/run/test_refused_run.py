"""A run that is refused, by MLflow's store or before its training, leaves nothing behind."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from attncli import recipe
from attncli.errors import RunFailedError, UserError
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


class Exchanges:
    """Exchanges of flags between threads, one for each process: who waits in vain is noticed after seconds."""

    def __init__(self, processes: int) -> None:
        self.barrier, self.rows = threading.Barrier(processes, timeout=10), {}

    def combine_flags(self, accelerator: SimpleNamespace, *flags: bool) -> list[bool]:
        """Return which flags are set in any process, once all are there."""
        self.rows[accelerator.process_index] = flags
        self.barrier.wait()
        combined = [any(column) for column in zip(*self.rows.values(), strict=True)]
        self.barrier.wait()
        return combined


def fail_with(error: BaseException | None) -> None:
    """Raise an error, if there is one."""
    if error is not None:
        raise error


@pytest.mark.parametrize("failure", [UserError("no images"), KeyboardInterrupt(), OSError("bug")], ids=repr)
@pytest.mark.parametrize(
    ("first_fails_at", "last_fails"), [(0, False), (1, False), (2, False), (3, True), (1, True)], ids=str
)
def test_no_process_waits_in_vain(
    first_fails_at: int, last_fails: bool, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever one of three processes meets before the training, by itself or by a signal, all of them end.

    With NCCL who waits for a process that is gone cannot be interrupted, so they must meet in every exchange.
    """
    exchanges, endings, trained = Exchanges(3), {}, []
    monkeypatch.setattr(distributed.train, "combine_flags", exchanges.combine_flags)
    monkeypatch.setattr(distributed.train, "train_model", lambda *given, **options: trained.append(1) or [])
    monkeypatch.setattr(distributed, "make_input_spec", Mock())
    monkeypatch.setattr(distributed.model, "build", Mock())

    def lead() -> None:
        with distributed.following_ranks(SimpleNamespace(process_index=0)) as followers:
            for stage, go_on in enumerate((followers.let_load, followers.check_setup, followers.let_train)):
                fail_with(failure if stage == first_fails_at else None)
                go_on()

    def follow(rank: int) -> None:
        load = Mock(side_effect=failure if last_fails and rank == 2 else None)
        accelerator = SimpleNamespace(process_index=rank)
        distributed.follow_main_rank(recipe.read(), accelerator, runs=Path("runs"), resume=True, load_dataset=load)

    def note_ending(rank: int, work: Callable[..., None], *given: int) -> None:
        try:
            work(*given)
        except BaseException as error:
            endings[rank] = error

    threads = [threading.Thread(target=note_ending, args=(0, lead))]
    threads += [threading.Thread(target=note_ending, args=(rank, follow, rank)) for rank in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trained
    assert not any(isinstance(ending, threading.BrokenBarrierError) for ending in endings.values()), endings
    if first_fails_at < 3:
        assert endings[0] is failure
        assert [ending.code for ending in (endings[1], endings[2])] == [0, 0]
    else:
        assert isinstance(endings[0], RunFailedError)
        assert endings[1].code == 0
        assert endings[2] is failure or f"{failure}" in str(endings[2])
