"""The parts of the script for a real GPU, on the CPU and as small as they get."""

import json
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from io import StringIO
from itertools import repeat
from pathlib import Path
from typing import IO, Any
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


def test_a_mechanism_that_multiplies_rounding_is_compared_by_its_first_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `aff` two kernels that round differently are soon far apart; its first loss must agree all the same."""
    for first, is_good in ((1.0, True), (1.01, False)):
        losses = iter([[1.0, 1.0], [first, 1.5]])
        monkeypatch.setattr(gpu_check, "make_steps", lambda *given, losses=losses: map(torch.tensor, next(losses)))
        (row,) = gpu_check.compare_losses(CPU, ["aff"], steps=2, size=8)
        assert row.is_good is is_good


@pytest.mark.parametrize("name", gpu_check.SETTINGS)
def test_settings_have_rows_of_their_own(name: str) -> None:
    """They are trained without a mechanism; a setting wins over what the part asks for."""
    recipe = gpu_check.make_named_recipe(name, **{"train.precision": "auto"})
    wanted = {key.partition(".")[2]: value for key, value in gpu_check.SETTINGS[name].items()}
    assert {key: getattr(recipe.train, key) for key in wanted} == wanted
    if recipe.train.precision != "fp16":
        loss = next(gpu_check.make_steps(recipe, gpu_check.make_random_dataset(16, 8), CPU))
        assert bool(loss.isfinite())


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


def test_losses_without_a_fixed_order_have_no_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch warns of one, captured steps may be off by rounding that has grown; elsewhere they may not."""
    monkeypatch.setattr(step_graph, "find_graph_obstacle", lambda *given: "")
    for warning, is_good in (("dcn does not have a deterministic implementation", None), ("of something else", False)):
        runs = iter([1.0, 1.1])

        def make_steps(*given: object, warning: str = warning, runs: Iterator[float] = runs) -> Iterator[torch.Tensor]:
            loss = next(runs)
            while True:
                warnings.warn(warning, stacklevel=1)
                yield torch.tensor(loss)

        monkeypatch.setattr(gpu_check, "make_steps", make_steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in the process of a part
            (row,) = gpu_check.compare_captured(CPU, ["dcn"], steps=2, size=8)
        assert row.is_good is is_good


def test_speed_and_condconv_are_timed() -> None:
    """Their rows have figures of this device."""
    row = gpu_check.time_steps(CPU, "resnet20", "eca", 2, size=8, calls=1)
    assert "images/s" in row.figure
    rows = list(gpu_check.time_condconv(CPU, batch=2, calls=1))
    assert [row.figure.count(" ms") for row in rows] == [3, 3]
    (row,) = gpu_check.time_plane_layouts(CPU, batch=2, calls=1)
    assert row.figure.count(" ms") == 2
    (row,) = gpu_check.time_maxima(CPU, batch=2, calls=1)
    assert row.figure.count(" ms") == 3


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
    assert (row.is_good, row.figure[:22]) == (False, "Error: NCCL timed out ")


def test_whole_runs_are_judged_by_their_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each way; one that fails does not end the others."""
    speed = mock.Mock(spec=records.Speed, train_images_per_s=25_000.0)
    told = iter([0.9, 0.1])

    def run(*options: str) -> list[Any]:
        if "train.precision=fp16" in options:
            raise RuntimeError("Error: out of memory with train.batch_size=128")
        return [mock.Mock(spec=records.Evaluation, split="test", top1=next(told)), speed]

    monkeypatch.setattr(gpu_check, "run_command", run)
    gpu = torch.device("cuda", 0)
    rows = list(gpu_check.make_rows("run", gpu))
    assert [row.is_good for row in rows] == [True, False, False]
    assert rows[0].figure == "90.0% of the test images; 25,000 images/s"
    assert rows[2].figure.startswith("Error: out of memory")
    assert [row.what for row in gpu_check.make_rows("run", gpu, skip=2)] == ["fp16"], "after a process that died"
    told = iter([0.9])
    assert [row.what for row in gpu_check.make_rows("run", torch.device("mps"))] == ["as it is"]


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
        return mock.Mock(stdout=StringIO("\n".join(rows)), wait=lambda: code)

    monkeypatch.setattr(gpu_check.subprocess, "Popen", start)
    rows = list(gpu_check.run_part("losses", 30.0))
    assert skipped == ["0", "2", "4"]
    assert [(row.what, row.is_good) for row in rows] == [
        ("none", True), ("eca", True), ("se", True), ("", False), ("cbam", True),
    ]  # fmt: skip
    assert rows[3].figure == "its process ended with exit code -11: Segmentation fault"


def test_a_part_whose_processes_die_at_once_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends two of them before their first row ends all: the time is for the other parts."""

    def start(command: list[str], *, stderr: IO[str], **options: object) -> mock.Mock:
        stderr.write("ImportError: libcudnn.so.9\n")
        return mock.Mock(stdout=StringIO(), wait=lambda: 1)

    monkeypatch.setattr(gpu_check.subprocess, "Popen", start)
    rows = list(gpu_check.run_part("losses", 30.0))
    assert [row.what for row in rows] == ["", "", "the rest"]
    assert rows[0].figure == "its process ended with exit code 1: ImportError: libcudnn.so.9"


def test_a_process_that_hangs_is_ended_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has so many seconds for each row; the next process goes on after the row that hung."""
    scripts = []
    for name, end in (("none", "import time; time.sleep(60)"), ("se", "")):
        row = json.dumps(asdict(gpu_check.Row("graph", name, "fine", True)))
        scripts.append(f"print({row!r}, flush=True); {end}")
    told, skipped, start = iter(scripts), [], subprocess.Popen

    def start_script(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        skipped.append(command[command.index("--skip") + 1])
        return start([sys.executable, "-c", next(told)], **options)

    monkeypatch.setattr(gpu_check, "ROW_SECONDS", 3.0)
    monkeypatch.setattr(gpu_check.subprocess, "Popen", start_script)
    rows = list(gpu_check.run_part("graph", 60.0))
    assert [(row.what, row.is_good) for row in rows] == [("none", True), ("", False), ("se", True)]
    assert rows[1].figure.startswith("its process took too long and was ended")
    assert skipped == ["0", "2"]


def test_a_failed_capture_ends_its_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It leaves torch in the middle of a capture, also where the row has no goal."""
    rows = [gpu_check.Row("speed", "a", "1 ms; not captured: the training step cannot be captured"), gpu_check.END]
    monkeypatch.setattr(gpu_check, "make_rows", lambda *given: iter(rows))
    monkeypatch.setattr(gpu_check, "choose_device", lambda: CPU)
    assert gpu_check.print_part("speed", 9.0, 0) == 3
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_nothing_of_the_tests_is_needed() -> None:
    """A machine for an hour has what attncli needs, and perhaps no pytest."""
    script = "import sys; sys.modules['pytest'] = None; import tests.device.gpu_check"
    subprocess.run([sys.executable, "-c", script], check=True)


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
        lines = "\n".join(("NCCL version 2.30.7", "7", json.dumps(asdict(row))))
        return mock.Mock(stdout=StringIO(lines), wait=lambda: 0)

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
    assert shares[list(gpu_check.PARTS)[-1]] > 300, "what earlier parts leave over"
    monkeypatch.undo()
    assert [row.figure for row in gpu_check.run_part("share", 0.0)] == [gpu_check.TIME_IS_OVER]
    assert list(gpu_check.make_rows("layout", CPU, skip=1)) == []
