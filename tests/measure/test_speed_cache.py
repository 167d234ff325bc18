"""Speeds kept in a file, and the machine they belong to."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from attncli.measure import code_state
from attncli.measure.environment import describe_machine
from attncli.measure.speed_cache import find_rates, get_or_measure_speed, make_speed_key
from attncli.recipe import read
from attncli.records import Speed
from attncli.system import hardware
from attncli.system.gpu_support import DEVICE_VARIABLE

SPEED = Speed(
    train_images_per_s=1.5,
    infer_images_per_s=3.0,
    baseline_train_images_per_s=2.0,
    baseline_infer_images_per_s=3.0,
    train_ratio=0.75,
    train_ratio_low=0.7,
    train_ratio_high=0.8,
    infer_ratio=1.0,
    infer_ratio_low=0.9,
    infer_ratio_high=1.1,
    batch_size=8,
    repeats=3,
    precision="fp32",
    device="cpu",
    threads=1,
    measured_at=datetime.now(UTC).isoformat(),
    load=0.5,
)


def key(precision: str = "fp32", size: tuple[int, int] = (32, 32), **values) -> dict:
    """The key of a recipe that has `values` (dots as two underscores)."""
    recipe = read(values={k.replace("__", "."): v for k, v in values.items()})
    return make_speed_key(recipe, 10, size, None, precision, describe_machine())


def test_measured_once(tmp_path: Path) -> None:
    """The second call with a key reads the file; another key measures anew and both stay."""
    file, calls = tmp_path / "cache" / "speed.json", []

    def compute() -> Speed:
        calls.append(1)
        return replace(SPEED, repeats=len(calls))

    first = get_or_measure_speed(file, key(), compute)
    assert get_or_measure_speed(file, key(), compute) == first
    assert get_or_measure_speed(file, key(model__attn="se"), compute).repeats == 2
    assert get_or_measure_speed(file, key(), compute) == first
    assert len(calls) == 2


def test_old_speeds_are_measured_again(tmp_path: Path) -> None:
    """A speed of the day before yesterday, or without a date, is served only to runs that must not measure."""
    file = tmp_path / "speed.json"
    for date in ((datetime.now(UTC) - timedelta(days=2)).isoformat(), None):
        get_or_measure_speed(file, key(), lambda date=date: replace(SPEED, repeats=1, measured_at=date), max_age_s=0)
        assert get_or_measure_speed(file, key(), lambda: SPEED, max_age_s=None).repeats == 1
        assert get_or_measure_speed(file, key(), lambda: SPEED) == SPEED
        assert get_or_measure_speed(file, key(), lambda: replace(SPEED, repeats=1)) == SPEED


def test_other_code_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of networks and mechanism is in the key; comments and docstrings are none."""
    before = key(model__attn="se")
    monkeypatch.setattr(code_state, "_hash_loop", lambda _: "other")
    assert key(model__attn="se") != before
    source = '"""What it does."""\nx = 1  # why\ndef f():\n    """Text."""\n    return "kept"\n'
    assert code_state.strip_comments(source) == code_state.strip_comments('x = 1\ndef f():\n    return "kept"\n')
    assert code_state.strip_comments("x = 1\n") != code_state.strip_comments("x = 2\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"train_ratio": 1}}'])
def test_unreadable_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    """A torn file, or entries of another version, are measured anew and replaced by a whole file."""
    file = tmp_path / "speed.json"
    file.write_text(text)
    assert get_or_measure_speed(file, key(), lambda: SPEED) == SPEED
    assert len(json.loads(file.read_text())) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"model__attn": "eca"},
        {"model__backbone": "resnet20"},
        {"model__attn": "se", "model__options": {"reduction": 4}},
        {"train__batch_size": 64},
        {"train__optimizer": "adamw"},
        {"train__channels_last": False},
        {"measure__batch_size": 32},
        {"train__lr_factors": {"stem": 0}},
        {"train__ema": 0.9},
        {"train__class_weights": "balanced"},
        {"train__label_smoothing": 0.1},
        {"data__cutmix": 1.0},
        {"precision": "bf16"},
        {"size": (64, 64)},
    ],
    ids=str,
)
def test_key_tells_apart_what_changes_the_time(values: dict) -> None:
    """Network, images, batch, precision and layout are in the key."""
    assert key(**values) != key()


@pytest.mark.parametrize("values", [{"seed": 3}, {"train__lr": 0.5}, {"train__epochs": 90}, {"data__name": "cifar10"}])
def test_key_leaves_out_what_does_not(values: dict) -> None:
    """Seed, learning rate, length of the training and the dataset's name do not change a step's time."""
    assert key(**values) == key()


def test_own_file_is_known_by_its_content(tmp_path: Path) -> None:
    """A mechanism of the user's own is measured anew when its file changes."""
    file = tmp_path / "mine.py"
    keys = []
    for slope in (1, 2):
        file.write_text(f"class Attention:\n    def __init__(self, channels):\n        self.slope = {slope}\n")
        keys.append(key(model__attn=str(file)))
    assert keys[0] != keys[1]


def test_machine_is_plain_and_complete() -> None:
    """Processor, cores, memory, libraries and platform, as values that JSON takes."""
    found = describe_machine()
    assert json.loads(json.dumps(found)) == found
    assert {
        "cpu",
        "cores",
        "threads",
        "memory_bytes",
        "gpu",
        "torch",
        "torchvision",
        "python",
        "platform",
    } <= found.keys()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**28


def test_the_latest_speed_is_found_by_its_date() -> None:
    """Wherever it stands in the file; one without a date is that of an earlier version, and the oldest."""
    recipe, now = read(), datetime.now(UTC)
    dates = {1.0: now - timedelta(hours=2), 2.0: now, 3.0: now - timedelta(hours=1), 4.0: None}
    entries = [
        {
            **asdict(replace(SPEED, train_images_per_s=rate, measured_at=date and date.isoformat())),
            "of": {**key(), "asked": "auto"},
        }
        for rate, date in dates.items()
    ]
    for order in (entries, entries[::-1]):
        rates = find_rates(order, recipe, (10, 32, 32, None))
        assert rates is not None
        assert rates.train_images_per_s == 2.0
    assert find_rates(entries[3:] + entries[:1], recipe, (10, 32, 32, None)).train_images_per_s == 1.0


@pytest.mark.parametrize(("gpu", "asked", "rate"), [("H200", "", 2.0), ("H200", "cpu", 1.0), (None, "cpu", 3.0)])
def test_a_plan_reckons_with_the_device_that_is_asked_for(
    gpu: str | None, asked: str, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a machine with a GPU there are speeds of both; where there is none, all are the CPU's."""
    monkeypatch.setattr(hardware, "is_this_machine", lambda machine: machine["gpu"] == gpu)
    monkeypatch.setenv(DEVICE_VARIABLE, asked)
    places = ((1.0, "H200", {"device": "cpu"}), (2.0, "H200", {}), (3.0, None, {}))
    entries = []
    for speed, machine_gpu, more in places:
        machine = {"machine": {**describe_machine(), "gpu": machine_gpu}}
        entries.append(
            {**asdict(replace(SPEED, train_images_per_s=speed)), "of": key() | machine | more | {"asked": ""}}
        )
    rates = find_rates(entries, read(values={"train.precision": "fp32"}), (10, 32, 32, None))
    assert rates is not None
    assert rates.train_images_per_s == rate
