"""Facts of the metrics: names, steps and timestamps."""

import re
from dataclasses import replace

import pytest

from attncli.track.metrics import MetricPoint, MetricStream, collect_run_metrics, extract_metrics
from tests.track.recorded_runs import WHOLE, cost, epoch, evaluation, speed


def test_names_are_those_mlflow_takes():
    """Every name is letters, digits and _ - . / alone."""
    names = [name for record in WHOLE for name in extract_metrics(record)]
    assert all(re.fullmatch(r"[a-z0-9_./-]+", name) for name in names)
    assert len(names) == len(set(names)) + len(extract_metrics(epoch(1)))  # two epochs share theirs, no others do


def test_epoch_names_its_measurements():
    """The names that the dashboard's charts ask for; what was not measured is left out."""
    assert extract_metrics(epoch(4, top1=0.9)) == {
        "train/loss": 0.25,
        "train/lr": 0.1,
        "train/images_per_s": 500,
        "train/seconds": 2,
        "val/loss": 0.5,
        "val/top1": 0.9,
        "val/top1_pct": 90,
        "val/top5": 0.9,
    }
    assert extract_metrics(replace(epoch(1), val_nonfinite=3))["val/nonfinite"] == 3


def test_overhead_is_the_difference_and_the_percentage():
    """110 parameters over 100 are 10 more, 10 %; a percentage of nothing is left out."""
    found = extract_metrics(cost())
    assert found["overhead/params"] == 10
    assert found["overhead/params_pct"] == 10
    assert found["overhead/macs_pct"] == 0
    assert found["cost/params"] == 110
    assert found["overhead/activation_bytes"] == 64
    assert "overhead/activation_pct" not in found


def test_evaluation_and_speed():
    """The split names the figures of an evaluation; the ratio to the baseline is a metric.

    F1 of the two classes is 4/5 and 2/3. Top-5 of two classes says nothing and is left out.
    """
    assert extract_metrics(evaluation()) == {
        "test/loss": 0.25,
        "test/top1": 0.75,
        "test/top1_pct": 75,
        "test/macro_f1": pytest.approx((4 / 5 + 2 / 3) / 2),
        "test/images": 4,
        "test/images_per_s": 900,
    }
    assert extract_metrics(replace(evaluation(), nonfinite_by_class=[0, 2]))["test/nonfinite"] == 2
    found = extract_metrics(speed())
    assert (found["speed/train_ratio"], found["speed/infer_ratio_low"]) == (0.9, 0.89)
    assert "speed/peak_memory_bytes" not in found


def test_time_is_training_time():
    """Timestamps are the start plus the training seconds so far, steps the epochs; the same on every call."""
    points = collect_run_metrics(WHOLE, 1000)
    at = {(p.key, p.step): p.timestamp_ms for p in points}
    assert at["cost/params", 0] == 1000
    assert at["train/loss", 1] == 3000
    assert at["train/loss", 2] == 5000
    assert at["test/top1", 2] == 5000
    assert points == collect_run_metrics(WHOLE, 1000)


def test_first_of_a_step_counts():
    """A log that holds an epoch twice gives one point of it, the first."""
    points = collect_run_metrics([epoch(1, top1=0.1), epoch(1, top1=0.2)], 0)
    assert [p.value for p in points if p.key == "val/top1"] == [0.1]


def test_one_by_one_is_all_at_once():
    """What a live run sends, record by record, is what sync would send."""
    way = MetricStream(7)
    assert [p for record in WHOLE for p in way.convert_record(record)] == collect_run_metrics(WHOLE, 7)
    assert isinstance(collect_run_metrics(WHOLE, 7)[0], MetricPoint)
