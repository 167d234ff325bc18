"""Facts of the metrics: names, steps and timestamps."""

import re

from attncli.track.metrics import MetricPoint, MetricStream, collect_run_metrics, extract_metrics
from tests.track.recorded_runs import WHOLE, cost, epoch, evaluation, speed


def test_names_are_those_mlflow_takes():
    """Every name is letters, digits and _ - . / alone."""
    names = [name for record in WHOLE for name in extract_metrics(record)]
    assert all(re.fullmatch(r"[a-z0-9_./-]+", name) for name in names)
    assert len(names) == len(set(names)) + len(extract_metrics(epoch(1)))  # two epochs share theirs, no others do


def test_epoch_names_its_measurements():
    """The names of the design, with what was not measured left out."""
    found = extract_metrics(epoch(4, top1=0.9))
    assert found["train/loss"] == 0.25
    assert found["val/top1"] == 0.9
    assert "train/peak_memory_bytes" not in found


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
    """The split names the figures of an evaluation; the ratio to the baseline is a metric."""
    assert extract_metrics(evaluation())["test/top1"] == 0.75
    assert extract_metrics(speed())["speed/train_ratio"] == 0.9


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
