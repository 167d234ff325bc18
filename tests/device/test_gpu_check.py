"""The parts of the script for a real GPU, on the CPU and as small as they get."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path
from typing import IO
from unittest import mock

import pytest
import torch

from attncli import records
from attncli.records import Epoch
from attncli.train import step_graph
from tests.device import gpu_check
from tests.device.record_steps import SimulatedCapture

CPU = torch.device("cpu")
EPOCH = Epoch(
    epoch=1, train_loss=2.0, lr=0.1, train_images_per_s=1.0, train_seconds=1.0, val_loss=None, val_top1=None,
    val_top5=None, peak_memory_bytes=None,
)  # fmt: skip
no_gpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")


@no_gpu
def test_without_a_gpu_it_says_so_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, nothing on stdout; an unknown part is refused alike."""
    for arguments in ([], ["--only", "lossses"]):
        assert gpu_check.main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("Error: ")


def test_losses_of_a_device_agree_with_themselves() -> None:
    """The CPU against the CPU is not off at all, for a mechanism and without."""
    rows = list(gpu_check.compare_losses(CPU, ["none", "eca"], steps=2, size=8))
    assert [(row.what, row.is_good, row.figure[:7]) for row in rows] == [
        ("none", True, "0.0e+00"),
        ("eca", True, "0.0e+00"),
    ]


def test_a_loss_that_differs_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond rounding the row is not as it should be."""
    losses = iter([1.0, 1.0, 1.01, 1.01])
    monkeypatch.setattr(gpu_check, "make_steps", lambda *given: (torch.tensor(next(losses)) for _ in range(2)))
    (row,) = gpu_check.compare_losses(CPU, ["eca"], steps=2, size=8)
    assert row.is_good is False


def test_waits_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that raises is bad and its error shown, with its line; one that does not is good; others still come."""
    (row,) = gpu_check.find_waits(CPU, ["eca"], size=8)
    assert row.is_good is None, "only CUDA tells"
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(gpu_check, "errors_for_waits", lambda device: nullcontext())
    monkeypatch.setattr(gpu_check, "make_steps", lambda *given: repeat(torch.tensor(1.0)))
    assert [(row.what, row.is_good) for row in gpu_check.find_waits(gpu, ["eca"], size=8)] == [("eca", True)]

    def raising(*given: object) -> object:
        yield torch.tensor(1.0)
        raise RuntimeError("called a synchronizing CUDA operation\nmore")

    monkeypatch.setattr(gpu_check, "make_steps", raising)
    rows = list(gpu_check.find_waits(gpu, ["eca", "se"], size=8))
    assert [(row.what, row.is_good) for row in rows] == [("eca", False), ("se", False)]
    assert "called a synchronizing CUDA operation (test_gpu_check.py:" in rows[0].figure


def test_captured_losses_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are repeated with the same tensors are off by nothing; where no graph can be, the row says why."""
    (row,) = gpu_check.compare_captured(CPU, ["none"], steps=2, size=8)
    assert (row.is_good, "CUDA device" in row.figure) == (None, True)
    monkeypatch.setattr(step_graph, "find_graph_obstacle", lambda *given: "")
    monkeypatch.setattr(step_graph, "CudaCapture", SimulatedCapture)
    (row,) = gpu_check.compare_captured(CPU, ["none"], steps=5, size=8)
    assert (row.is_good, row.figure) == (True, "off by 0.0e+00 at most in 5 steps")


def test_speed_and_condconv_are_timed() -> None:
    """Their rows have figures of this device."""
    row = gpu_check.time_steps(CPU, "resnet20", "eca", 2, size=8, calls=1)
    assert "images/s" in row.figure
    rows = list(gpu_check.time_condconv(CPU, batch=2, calls=1))
    assert [row.figure.count(" ms") for row in rows] == [3, 3]
    (row,) = gpu_check.time_plane_layouts(CPU, batch=2, calls=1)
    assert row.figure.count(" ms") == 2


def test_processes_that_share_a_gpu_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each count is a row with the sum of what the processes print; one that fails ends the part."""
    child = mock.Mock(returncode=0)
    child.communicate.return_value = ("1000.5\n", None)
    monkeypatch.setattr(gpu_check.subprocess, "Popen", lambda command, **options: child)
    assert [row.figure for row in gpu_check.share_gpu(CPU, counts=(1, 2))] == [
        "1,000 images/s together", "2,001 images/s together",
    ]  # fmt: skip
    child.returncode = 1
    assert [row.is_good for row in gpu_check.share_gpu(CPU)] == [False]
    assert gpu_check.train_for_a_while(CPU, batch=2, seconds=0.0) == 0.0


def test_mechanisms_for_clips_are_left_out() -> None:
    """They need another dataset."""
    assert not {"tam", "gltr"} & set(gpu_check.list_still_mechanisms())


def test_an_error_is_a_row_and_ends_its_part_only() -> None:
    """A GPU that runs out of memory in one row still gives the others."""

    def make_rows() -> Iterator[gpu_check.Row]:
        yield gpu_check.Row("layout", "first", "1 ms")
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    rows = list(gpu_check.guard_rows("layout", make_rows()))
    assert [(row.what, row.is_good) for row in rows] == [("first", None), ("", False)]
    assert rows[1].figure.startswith("CUDA out of memory. Tried to allocate 2 GiB (")


def test_two_processes_are_compared_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the loss of the epoch in their logs; a machine with one GPU has nothing to compare."""
    losses = iter([2.0, 2.01])

    def run(command: list[str], **options: object) -> mock.Mock:
        folder = Path(command[command.index("--runs") + 1], "abc")
        folder.mkdir(parents=True)
        records.append_record(folder, replace(EPOCH, train_loss=next(losses)))
        return mock.Mock(returncode=0)

    monkeypatch.setattr(gpu_check.subprocess, "run", run)
    (row,) = gpu_check.compare_processes(CPU, options=("--device", "cpu"))
    assert (row.figure, row.is_good) == ("5.0e-03 off one process's 2.0000", False)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    (row,) = gpu_check.compare_processes(CPU)
    assert row.is_good is None
    failed = mock.Mock(returncode=1, stderr="Error: NCCL timed out\n  hint: none\n")
    monkeypatch.setattr(gpu_check.subprocess, "run", lambda command, **options: failed)
    (row,) = gpu_check.guard_rows("ranks", gpu_check.compare_processes(CPU, options=("--device", "cpu")))
    assert (row.is_good, row.figure[:34]) == (False, "1 processes: Error: NCCL timed out")


def test_a_part_stops_when_its_time_is_over_or_the_device_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process prints rows as JSON; after a lost context it ends with 3, after its time with a row that says so."""

    def make_rows(*given: object) -> Iterator[gpu_check.Row]:
        yield gpu_check.Row("losses", "none", "fine", True)
        yield gpu_check.Row("losses", "eca", "CUDA error: an illegal memory access was encountered", False)
        yield gpu_check.Row("losses", "se", "never reached", True)

    monkeypatch.setattr(gpu_check, "make_rows", make_rows)
    monkeypatch.setattr(gpu_check, "choose_device", lambda: CPU)
    for seconds, code, names in ((9.0, 3, ["none", "eca"]), (-1.0, 0, ["none", "the rest"])):
        assert gpu_check.print_part("losses", seconds, 0) == code
        assert [json.loads(line)["what"] for line in capsys.readouterr().out.splitlines()] == names


def test_a_part_goes_on_after_a_process_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process leaves out the rows that are there, and the network at which the last one crashed."""
    outcomes = iter([(["none", "eca"], 3, ""), (["se"], -11, "x\nSegmentation fault\n"), (["cbam"], 0, "")])
    skipped = []

    def start(command: list[str], *, stderr: IO[str], **options: object) -> mock.Mock:
        skipped.append(command[command.index("--skip") + 1])
        names, code, words = next(outcomes)
        stderr.write(words)
        rows = [json.dumps(asdict(gpu_check.Row("losses", name, "", True))) for name in names]
        return mock.Mock(stdout=rows, wait=lambda: code)

    monkeypatch.setattr(gpu_check.subprocess, "Popen", start)
    rows = list(gpu_check.run_part("losses", 30.0))
    assert skipped == ["0", "2", "4"]
    assert [(row.what, row.is_good) for row in rows] == [
        ("none", True), ("eca", True), ("se", True), ("", False), ("cbam", True),
    ]  # fmt: skip
    assert rows[3].figure == "its process ended with exit code -11: Segmentation fault"


def test_cifar_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without its files the row says so: a machine for an hour has no time for a download, perhaps no network."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", mock.Mock(side_effect=AssertionError("fetched")))
    (row,) = gpu_check.guard_rows("cifar", gpu_check.train_cifar(CPU))
    assert (row.is_good, row.figure) == (None, f"not run: cifar10: not in {tmp_path}")


def test_cifar_is_trained_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row has the accuracy on its test images."""
    noise = gpu_check.make_random_dataset(512, 8)
    monkeypatch.setattr(gpu_check, "build_dataset", lambda recipe, paths: noise)
    (row,) = gpu_check.train_cifar(CPU, epochs=1)
    assert re.fullmatch(r"\d+\.\d\d% in \d+ s", row.figure)


def test_lines_of_libraries_are_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library prints in the process of a part is passed over; its end is told by the clock of the wall."""
    row = gpu_check.Row("losses", "none", "fine", True)
    given = []

    def start(command: list[str], **options: object) -> mock.Mock:
        given.append(float(command[command.index("--until") + 1]) - time.time())
        return mock.Mock(stdout=["NCCL version 2.30.7\n", "7\n", json.dumps(asdict(row)) + "\n"], wait=lambda: 0)

    monkeypatch.setattr(gpu_check.subprocess, "Popen", start)
    assert list(gpu_check.run_part("losses", 30.0)) == [row]
    assert given == [pytest.approx(30.0, abs=1.0)]


def test_every_part_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its share of the time; without time left there is a row too. A part that skips its rows is empty."""
    shares = {}
    monkeypatch.setattr(gpu_check, "run_part", lambda part, seconds: shares.setdefault(part, seconds) and iter(()))
    list(gpu_check.run_parts(list(gpu_check.PARTS), 360.0))
    assert list(shares) == list(gpu_check.PARTS)
    assert shares["ranks"] == pytest.approx(360 * gpu_check.PARTS["ranks"] / sum(gpu_check.PARTS.values()), rel=0.01)
    assert shares["layout"] > 300, "what earlier parts leave over"
    monkeypatch.undo()
    assert [row.figure for row in gpu_check.run_part("share", 0.0)] == [gpu_check.TIME_IS_OVER]
    assert list(gpu_check.make_rows("layout", CPU, skip=1)) == []
