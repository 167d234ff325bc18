"""Speeds over several processes."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from attncli import validation
from attncli.errors import RunFailedError, UserError
from attncli.measure import processes
from attncli.model import InputSpec
from attncli.records import Speed

SPEED = Speed(
    train_images_per_s=100.0, infer_images_per_s=300.0, baseline_train_images_per_s=125.0,
    baseline_infer_images_per_s=400.0, train_ratio=0.8, train_ratio_low=0.79, train_ratio_high=0.81, infer_ratio=0.75,
    infer_ratio_low=0.74, infer_ratio_high=0.76, batch_size=8, repeats=9, precision="fp32", device="cpu", threads=1,
    load=1.0,
)  # fmt: skip


def test_the_interval_is_students_over_the_processes() -> None:
    """Of processes that differ by more than their own intervals say, the interval is scipy's of the logarithms."""
    ratios = [0.90, 0.95, 1.02]
    centre, low, high = processes.combine_ratios([(r, r * 0.999, r * 1.001) for r in ratios])
    theirs = scipy_stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)))
    assert centre == pytest.approx(float(scipy_stats.gmean(ratios)))


def test_processes_that_agree_by_chance_are_no_more_certain_than_their_rounds() -> None:
    """Equal ratios leave the spread of the rounds within a process."""
    _, low, high = processes.combine_ratios([(0.9, 0.85, 0.95)] * 3)
    error = math.log(0.95 / 0.85) / (2 * 1.96) / math.sqrt(3)
    assert math.log(high / low) / 2 == pytest.approx(4.3027 * error, rel=1e-4)
    with pytest.raises(ValueError, match="one process"):
        processes.combine_ratios([(0.9, 0.85, 0.95)])


def test_coverage() -> None:
    """The interval of three processes holds the true ratio in 95 % of cases, also where processes scatter."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1500):
        medians = np.exp(0.02 * rng.standard_normal(3) + 0.01 * rng.standard_normal(3))
        _, low, high = processes.combine_ratios([(m, m * 0.98, m * 1.02) for m in medians])
        held += low < 1 < high
    assert held / 1500 > 0.95 - 0.02


def test_speeds_of_unequal_batches_are_not_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one process had to halve its batch, the row says so, with the counts and without a speed."""
    speeds = (replace(SPEED, batch_size=16), replace(SPEED, batch_size=8), replace(SPEED, batch_size=16))
    answers = iter([[{"speed": vars(speed), "problem": ""}] for speed in speeds])
    monkeypatch.setattr(processes, "_ask_process", lambda _: next(answers))
    recipe = validation.read(values={"model.backbone": "resnet20", "model.attn": "eca"})
    [row] = processes.measure_in_processes([recipe], InputSpec(10, (32, 32)), 3)
    assert row.cost is not None
    assert (row.speed, row.hint) == (None, "time all with as many: --batch-size 8")
    assert "timed 8 images a step and others 16" in row.problem


def test_records_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speeds of each process's answer become one record; a process that ends early is an error with its reason."""
    slower = replace(
        SPEED,
        train_ratio=0.7,
        train_ratio_low=0.69,
        train_ratio_high=0.71,
        train_images_per_s=90.0,
        load=3.0,
        cores_used_by_others=0.4,
    )
    answers = [json.dumps([{"speed": vars(speed), "problem": ""}]) for speed in (SPEED, slower)]
    results = iter([SimpleNamespace(returncode=0, stdout=f"noise\n{answer}\n", stderr="") for answer in answers])
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: next(results))
    recipe = validation.read(values={"model.backbone": "resnet20", "model.attn": "eca"})
    [row] = processes.measure_in_processes([recipe], InputSpec(10, (32, 32)), 2)
    assert row.speed is not None
    assert (row.speed.processes, row.speed.train_images_per_s, row.speed.load) == (2, 95.0, 3.0)
    assert row.speed.cores_used_by_others == 0.4
    assert row.speed.train_ratio == pytest.approx(math.sqrt(0.8 * 0.7))
    assert row.speed.train_ratio_low < 0.7
    failed = json.dumps([{"speed": None, "problem": "does not fit", "hint": "smaller images"}])
    refused = json.dumps({"problem": "no such device", "hint": "cpu", "code": 2})
    for answer in (failed, refused):
        ended = SimpleNamespace(returncode=0, stdout=answer, stderr="")
        monkeypatch.setattr(processes.subprocess, "run", lambda *_, ended=ended, **__: ended)
        if answer is failed:
            [row] = processes.measure_in_processes([recipe], InputSpec(10, (32, 32)), 2)
            assert (row.problem, row.hint) == ("does not fit", "smaller images")
        else:
            with pytest.raises(UserError, match="no such device") as caught:
                processes.measure_in_processes([recipe], InputSpec(10, (32, 32)), 2)
            assert caught.value.hint == "cpu"
    killed = SimpleNamespace(returncode=-9, stdout="", stderr="Killed")
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(RunFailedError, match="Killed"):
        processes.measure_in_processes([recipe], InputSpec(10, (32, 32)), 2)
