"""What a checkpoint holds, and which ones are refused."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file

from attncli.errors import RunFailedError, UserError
from attncli.train import checkpoint, train_model
from attncli.train.checkpoint import FOLDER, SLOTS, STATE, load_weights
from tests.train.case import Net, dataset, net, recipe, run


@pytest.fixture
def made(tmp_path):
    """A folder with the checkpoint of a finished training."""
    run(net(), recipe(ema=0.9, optimizer="adamw"), tmp_path)
    return tmp_path


def resume(folder, model=None, data=None, **settings):
    """Try to go on from the checkpoint."""
    wanted = recipe(**({"ema": 0.9, "optimizer": "adamw"} | settings))
    return list(train_model(model or net(), data or dataset(), wanted, folder=folder, resume=True))


def test_two_files_that_anyone_can_read(made):
    """JSON for the place, safetensors for the weights under the network's own names, and nothing else."""
    head = json.loads((made / FOLDER / STATE).read_text())
    assert (head["epoch"], head["step"], head["recipe"]) == (
        3,
        0,
        recipe(ema=0.9, optimizer="adamw").compute_digest(),
    )
    assert sorted(p.name for p in (made / FOLDER).iterdir()) == sorted([STATE, head["tensors"]])
    tensors = load_file(made / FOLDER / head["tensors"])
    assert {name.removeprefix("model/") for name in tensors if name.startswith("model/")} == set(net().state_dict())
    assert {"ema/head.weight", "optimizer/0.exp_avg", "losses"} <= tensors.keys()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lr": 0.3}, "another recipe"),
        ({"data": replace(dataset(), digest="e" * 64)}, "other images"),
        ({"model": net(width=5)}, "another network"),
    ],
)
def test_foreign_checkpoints(made, change, word):
    """A checkpoint of another recipe, data set or network is refused in one line that says which."""
    with pytest.raises(UserError, match=word) as caught:
        resume(made, **change)
    assert "\n" not in caught.value.problem
    assert "--fresh" in caught.value.hint


def test_another_precision_is_refused(made, monkeypatch):
    """`auto` may mean another format on another machine: going on in that would be another training."""
    head = made / FOLDER / STATE
    head.write_text(head.read_text().replace('"precision": "fp32"', '"precision": "bf16"'))
    with pytest.raises(UserError, match=r"another precision \(bf16, this run has fp32\)"):
        resume(made)


def flip(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit": lambda folder, slot: flip(slot),
    "tensors cut short": lambda folder, slot: slot.write_bytes(slot.read_bytes()[:-5]),
    "tensors gone": lambda folder, slot: slot.unlink(),
    "no tensors": lambda folder, slot: slot.write_bytes(b""),
    "json cut short": lambda folder, slot: (folder / STATE).write_text((folder / STATE).read_text()[:40]),
    "json of something else": lambda folder, slot: (folder / STATE).write_text("[1]"),
    "json empty": lambda folder, slot: (folder / STATE).write_text(""),
    "json binary": lambda folder, slot: (folder / STATE).write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_checkpoints(made, damage):
    """Whatever was done to the files, it is one clear error that tells the way out."""
    (slot,) = [made / FOLDER / name for name in SLOTS if (made / FOLDER / name).exists()]
    damage(made / FOLDER, slot)
    with pytest.raises(UserError, match="damaged checkpoint") as caught:
        resume(made)
    assert "\n" not in caught.value.problem
    assert str(made) in caught.value.problem
    assert "--fresh" in caught.value.hint
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_weights(made, net())  # as `eval`, `predict`, `export` and `look` do
    run(net(), recipe(epochs=1), made)  # without resume it is replaced
    assert len(run(net(), recipe(epochs=1), made, resume=True)) == 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("CUDA error: x")])
def test_a_device_that_fails_is_no_foreign_checkpoint(made, monkeypatch, error):
    """A GPU that others fill while a training resumes is told as it is: nobody is to throw the checkpoint away."""
    monkeypatch.setattr(checkpoint.optim, "restore_optimizer", Mock(side_effect=error))
    with pytest.raises((RunFailedError, RuntimeError), match=r"out of memory|CUDA error: x") as caught:
        resume(made)
    assert "--fresh" not in getattr(caught.value, "hint", "")


@pytest.mark.parametrize("method", ["read_text", "read_bytes"])  # of the state, of the tensors
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_checkpoint_that_cannot_be_read_is_not_damaged(made, monkeypatch, method, number):
    """A network drive that fails for a while: the reason is told, and nobody is to throw the checkpoint away."""
    monkeypatch.setattr(Path, method, Mock(side_effect=OSError(number, os.strerror(number))))
    for read in (lambda: resume(made), lambda: load_weights(made, net())):
        with pytest.raises(UserError, match=f"cannot read the checkpoint: {os.strerror(number)}") as caught:
            read()
        assert "--fresh" not in caught.value.hint
    monkeypatch.undo()
    assert len(resume(made)) == 3


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    """A save that does not fit is a failed run (exit code 1); the checkpoint before it stays good."""
    real, calls = checkpoint.safetensors_io.write_tensors, []

    def full(path, named):
        calls.append(path)
        crc = real(path, named)
        if len(calls) == 2:
            os.truncate(path, 100)
            raise OSError(errno.ENOSPC, "No space left on device")
        return crc

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.safetensors_io, "write_tensors", full)
        with pytest.raises(RunFailedError, match="No space left on device") as caught:
            run(net(), recipe(), tmp_path)
    assert caught.value.code == 1
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert [e.epoch for e in run(net(), recipe(), tmp_path, resume=True)] == [1, 2, 3]


def test_a_folder_that_cannot_be_written(tmp_path):
    """A file where the folder should be is one clear error."""
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(RunFailedError, match=FOLDER):
        run(net(), recipe(), tmp_path)


def test_tied_weights(tmp_path):
    """Two names for one tensor are saved and come back as such."""

    class Tied(Net):
        def __init__(self):
            super().__init__()
            self.conv3 = self.conv2

    first, second = net(Tied), net(Tied)
    run(first, recipe(epochs=1), tmp_path)
    run(second, recipe(epochs=1), tmp_path, resume=True)
    assert second.conv3.weight is second.conv2.weight
    assert (second.conv3.weight == first.conv2.weight).all()
