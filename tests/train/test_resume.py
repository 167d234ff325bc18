"""A training that was stopped or killed and goes on ends in the bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attncli.train import Interrupted, checkpoint, monitor, train_model
from attncli.train.checkpoint import FOLDER, STATE
from tests.train.case import Annealed, Net, Signalling, dataset, figures, net, recipe, run, same

CASES = {
    "sgd with momentum": {},
    "sgd contiguous": {"channels_last": False},
    "sgd without momentum": {"momentum": 0.0},
    "adamw and average": {"optimizer": "adamw", "lr": 0.01, "ema": 0.9},
    "bf16 with clipping": {"precision": "bf16", "clip_norm": 0.1},
    "onecycle": {"schedule": "onecycle", "label_smoothing": 0.1, "optimizer": "adam"},
}


def interrupt(model: Net, settings: dict, folder: Path, at: int, number: int = signal.SIGINT) -> Interrupted:
    """Train until the signal that comes at training batch `at`."""
    broken = net(Signalling, at=at, number=number)
    broken.load_state_dict(model.state_dict())
    with pytest.raises(Interrupted) as caught:
        run(broken, recipe(**settings), folder)
    return caught.value


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("at", [0, 8, 11])
def test_stopped_and_resumed(tmp_path, settings, at):
    """Stopped at the first step, in the middle or at the end of an epoch and resumed = undisturbed, to the bit."""
    whole, resumed = net(), net()
    expected = run(whole, recipe(**settings))
    interrupt(net(), settings, tmp_path, at)
    got = run(resumed, recipe(**settings), tmp_path, resume=True)
    assert figures(got) == figures(expected)
    assert same(resumed, whole)


def test_stopped_again_and_again(tmp_path):
    """A training stopped in every epoch still ends in the same bits."""
    whole, last = net(), net()
    expected = run(whole, recipe(ema=0.9))
    for at in (4, 3, 7):
        broken = net(Signalling, at=at)
        with pytest.raises(Interrupted):
            run(broken, recipe(ema=0.9), tmp_path, resume=True)
    assert figures(run(last, recipe(ema=0.9), tmp_path, resume=True)) == figures(expected)
    assert same(last, whole)


def test_annealing_resumes(tmp_path):
    """What a module anneals follows from the epoch, also when the training starts in the middle of one."""

    class Both(Annealed, Signalling):
        pass

    whole, resumed = net(Annealed), net(Annealed)
    expected = run(whole, recipe())
    with pytest.raises(Interrupted):
        run(net(Both, at=9), recipe(), tmp_path)
    assert figures(run(resumed, recipe(), tmp_path, resume=True)) == figures(expected)
    assert same(resumed, whole)
    assert resumed.temperature == whole.temperature == 24  # of the third epoch


def test_an_interruption_tells_where_and_what_to_do(tmp_path):
    """Exit code 130, the signal, the place and the way on; the step under way is finished first."""
    error = interrupt(net(), {}, tmp_path, at=8, number=signal.SIGTERM)
    assert error.code == 130
    assert error.problem == "stopped by SIGTERM at epoch 2, step 3"
    assert "same command" in error.hint


def test_stopped_while_the_listener_works(tmp_path):
    """A signal between two epochs ends the training when it is its turn again, also after the last epoch."""
    for last in (1, 3):
        epochs = []
        with pytest.raises(Interrupted, match=f"after epoch {last}"):  # noqa: PT012 - the signal comes in the loop
            for epoch in train_model(net(), dataset(), recipe(), folder=tmp_path):
                epochs.append(epoch.epoch)
                if epoch.epoch == last:
                    os.kill(os.getpid(), signal.SIGINT)
        assert epochs == list(range(1, last + 1))


def test_a_finished_training_is_told_again(tmp_path):
    """Resuming what is finished trains nothing and gives the same records and weights, times included."""
    first, again = net(), net(Signalling, at=0)
    told = run(first, recipe(ema=0.5), tmp_path)
    assert run(again, recipe(ema=0.5), tmp_path, resume=True) == told
    assert same(first, again)


def test_nothing_to_resume_is_a_beginning(tmp_path):
    """`resume` without a checkpoint trains from the start."""
    a, b = net(), net()
    assert figures(run(a, recipe(), tmp_path, resume=True)) == figures(run(b, recipe()))
    assert same(a, b)


def test_beginning_anew_forgets(tmp_path):
    """Without `resume` an old checkpoint goes before the first step, so nothing can go on from it later."""

    class Broken(Net):
        def forward(self, x):
            raise ZeroDivisionError

    run(net(), recipe(epochs=1), tmp_path)
    assert (tmp_path / FOLDER / STATE).exists()
    with pytest.raises(ZeroDivisionError):
        run(net(Broken), recipe(epochs=1), tmp_path)
    assert list((tmp_path / FOLDER).iterdir()) == []


KILLED = """
import signal
import sys
from pathlib import Path
from attncli.train import monitor
from tests.train.case import Signalling, net, recipe, run
monitor.SAVE_S = monitor.CHECK_S = 0.0
run(net(Signalling, at=int(sys.argv[2]), number=signal.SIGKILL), recipe(ema=0.9), Path(sys.argv[1]), resume=True)
"""


def killed(folder: Path, at: int) -> None:
    """Train in a process of its own that is killed, without notice, in the forward pass of its batch `at`."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(at)], env=environment, cwd=root, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_killed_and_resumed(tmp_path):
    """After kill -9 in the middle of an epoch the training goes on from the last save to the same bits."""
    whole, resumed = net(), net()
    expected = run(whole, recipe(ema=0.9))
    killed(tmp_path, at=10)
    assert figures(run(resumed, recipe(ema=0.9), tmp_path, resume=True)) == figures(expected)
    assert same(resumed, whole)


class Dead(BaseException):
    """The process ends here."""


def dying(real, at: int):
    """The function `real`, but at call number `at` the process ends in it, files half-written."""
    calls = []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == at:
            if real.__name__ == "write":
                real(*arguments)
                os.truncate(arguments[0], 1000)
            raise Dead
        return real(*arguments, **options)

    return call


PARTS = {
    "tensors": (checkpoint.safetensors_io, "write_tensors"),
    "state": (checkpoint, "write_atomically"),
    "old": (checkpoint, "_remove_stale_files"),
}


@pytest.mark.parametrize("part", PARTS)
def test_killed_while_saving(tmp_path, monkeypatch, part):
    """A save that breaks off in any of its three parts leaves a whole checkpoint, and goes on to the same bits."""
    whole, resumed = net(), net()
    expected = run(whole, recipe())
    with monkeypatch.context() as patch:
        patch.setattr(monitor, "CHECK_S", 0.0)
        patch.setattr(monitor, "SAVE_S", 0.0)
        module, name = PARTS[part]
        patch.setattr(module, name, dying(getattr(module, name), at=9))
        with pytest.raises(Dead):
            run(net(), recipe(), tmp_path)
    assert figures(run(resumed, recipe(), tmp_path, resume=True)) == figures(expected)
    assert same(resumed, whole)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_heavy_checkpoints_take_a_hundredth_of_the_time(tmp_path, monkeypatch):
    """Short epochs of a network that is slow to save are saved at the end alone, and go on from there."""
    saves = []
    real = checkpoint.save_checkpoint
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *given: (saves.append(given[1].epoch), real(*given)))
    run(net(), recipe(epochs=5), tmp_path)
    assert saves == [1, 2, 3, 4, 5]
    saves.clear()
    monkeypatch.setattr(monitor, "LIGHT_BYTES", 0)
    monkeypatch.setattr(monitor, "BYTES_PER_S", 1.0)
    run(net(), recipe(epochs=5), tmp_path)
    assert saves == [5]
    saves.clear()
    monkeypatch.setattr(monitor, "BYTES_PER_S", 1e18)
    monkeypatch.setattr(monitor, "SAVE_TIME_SHARE", 1e9)
    run(net(), recipe(epochs=5), tmp_path)
    assert saves == [1, 2, 3, 4, 5]


def test_stopped_long_after_the_last_save(tmp_path, monkeypatch):
    """Being asked to stop saves, however long ago the last checkpoint was and however heavy one is."""
    monkeypatch.setattr(monitor, "LIGHT_BYTES", 0)
    monkeypatch.setattr(monitor, "BYTES_PER_S", 1.0)
    whole, resumed = net(), net()
    expected = run(whole, recipe())
    interrupt(net(), {}, tmp_path, at=9)
    head = json.loads((tmp_path / FOLDER / STATE).read_text())
    assert (head["epoch"], head["step"]) != (0, 0)
    assert figures(run(resumed, recipe(), tmp_path, resume=True)) == figures(expected)
    assert same(resumed, whole)
