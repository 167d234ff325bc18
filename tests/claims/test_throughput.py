"""Claims about speed: rounds kept beside the runs, and an interval that decides."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import make_network_key
from attncli.claims import claim_files, judge, throughput
from attncli.claims.evidence import Evidence
from attncli.claims.throughput import NetworkTimings, SpeedStore
from attncli.measure.environment import describe_machine
from attncli.runs import read_folder_runs
from attncli.system.gpu_support import DEVICE_VARIABLE
from tests.claims.case import claims_file, pairs

PLAIN, ECA = "train_speed(resnet20)", "train_speed(resnet20 + eca)"
FAST = [0.010, 0.011, 0.009, 0.010, 0.012, 0.010, 0.010, 0.011, 0.010]


def timed_as(monkeypatch, slower: float, noise: float = 0.0, others: float = 0.0):
    """Networks with a mechanism take so much longer, but for noise; how often they were timed."""
    times = []

    def now(named, images):
        times.append(images)
        wobble = [1 + noise * (-1) ** i for i in range(len(FAST))]
        taken = {
            make_network_key(r.model): [
                s * (slower * w if r.model.attn != "none" else 1) for s, w in zip(FAST, wobble, strict=True)
            ]
            for r in named.values()
        }
        when = datetime.now(UTC).isoformat()
        return NetworkTimings(taken, taken, 100, "a machine", when, describe_machine(), cores_used_by_others=others)

    monkeypatch.setattr(throughput, "_time_now", now)
    return times


def verdict(folder, check: str, measure: bool, **keys):
    """The verdict on one check."""
    (claim,) = claim_files.read_claim_files([claims_file(folder, check, **keys)])
    return judge.judge_claims([claim], Evidence(CountCache(), SpeedStore(folder / "runs", measure)))[0]


def test_untimed_is_untested(tmp_path):
    """Nothing is timed without being asked for, and the command is told."""
    found = verdict(tmp_path, f"{ECA} < {PLAIN}", False)
    assert (found.outcome, found.command) == ("untested", f"attncli claims c0 --file {tmp_path}/eca.yaml --measure")


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        (f"{ECA} < {PLAIN}", "holds"),
        (f"{ECA} > {PLAIN}", "fails"),
        (f"{ECA} / {PLAIN} < 0.7", "holds"),
        (f"{ECA} / {PLAIN} ~ 0.5 +- 0.1", "holds"),
        (f"{ECA} / {PLAIN} > 0.7", "fails"),
        ("latency(resnet20 + eca) > latency(resnet20)", "holds"),
        ("infer_speed(resnet20 + eca) / infer_speed(resnet20) > 0.7", "fails"),
        ("latency(resnet20 + eca) * infer_speed(resnet20 + eca) ~ 100 +- 1", "holds"),
    ],
)
def test_rounds_decide(tmp_path, monkeypatch, check, outcome):
    """A network that takes twice as long in every round, however much the rounds differ."""
    timed_as(monkeypatch, slower=2.0)
    found = verdict(tmp_path, check, True)
    assert (found.outcome, found.by, found.parts[0].n) == (outcome, "timing", 9)
    assert "a machine" in found.parts[0].measured


@pytest.mark.parametrize(("share", "limit"), [(0.95, "host"), (0.3, "device"), (None, None)])
def test_a_verdict_says_that_the_host_was_the_limit(tmp_path, monkeypatch, share, limit):
    """A claim about speed that was decided by launches has a label; figures of earlier versions do not say it."""
    timed_as(monkeypatch, slower=2.0)
    now = throughput._time_now

    def now_with_share(named, images):
        return replace(now(named, images), train_host_share={make_network_key(r.model): share for r in named.values()})

    monkeypatch.setattr(throughput, "_time_now", now_with_share)
    found = verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    assert (found.outcome, found.to_json_dict()["parts"][0]["limit"]) == ("holds", limit)
    assert (judge.HOST_LABEL in found.labels) == (limit == "host")


def test_one_network_that_waits_for_the_host_is_enough(tmp_path, monkeypatch):
    """Of two speeds compared one is the device's and one the host's: the host limits the comparison."""
    timed_as(monkeypatch, slower=2.0)
    now = throughput._time_now

    def now_with_shares(named, images):
        keys = [make_network_key(recipe.model) for recipe in named.values()]
        return replace(now(named, images), train_host_share=dict(zip(keys, (0.95, 0.3), strict=True)))

    monkeypatch.setattr(throughput, "_time_now", now_with_shares)
    found = verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    assert found.to_json_dict()["parts"][0]["limit"] == "host"


def test_noise_leaves_it_undecided(tmp_path, monkeypatch):
    """Rounds on both sides of the bound decide nothing."""
    timed_as(monkeypatch, slower=1.0, noise=0.2)
    found = verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    assert (found.outcome, found.command) == ("undecided", f"attncli claims c0 --file {tmp_path}/eca.yaml --measure")


@pytest.mark.parametrize(("noise", "outcome"), [(0.0, "holds"), (0.2, "undecided")])
def test_runs_alone_do_not_decide_a_claim_about_speed_too(tmp_path, monkeypatch, noise, outcome):
    """The accuracies hold; the claim holds if the speeds do, and is undecided if they are."""
    timed_as(monkeypatch, slower=1.0 if noise else 2.0, noise=noise)
    pairs(tmp_path / "runs", "eca", [0.9, 0.91, 0.92, 0.9], [0.7, 0.71, 0.72, 0.71])
    check = f"top1(resnet20 + eca) > top1(resnet20) and {ECA} < {PLAIN}"
    (claim,) = claim_files.read_claim_files([claims_file(tmp_path, check)])
    finished_runs = list(read_folder_runs(tmp_path / "runs"))
    evidence = Evidence(CountCache(), SpeedStore(tmp_path / "runs", measure=True), finished_runs)
    assert judge.judge_claims([claim], evidence)[0].outcome == outcome


def test_figures_are_kept(tmp_path, monkeypatch):
    """Timed once in a call for all parts of a claim; later calls tell the last figures, unless asked to time anew."""
    times = timed_as(monkeypatch, slower=2.0)
    check = f"{ECA} < {PLAIN} and {PLAIN} > {ECA}"
    assert verdict(tmp_path, check, True).outcome == "holds"
    assert len(times) == 1
    assert verdict(tmp_path, check, False).outcome == "holds"
    assert len(times) == 1
    verdict(tmp_path, check, True)
    assert len(times) == 2


OLD = (datetime.now(UTC) - timedelta(hours=25)).isoformat()


@pytest.mark.parametrize(
    "change",
    [{"machine": {"cpu": "Raspberry Pi 4", "torch": "1.9"}}, {"code": "older"}, {"when": OLD}, None],
    ids=["machine", "code", "old", "version 0.1.0"],
)
def test_figures_of_another_machine_code_or_day_decide_nothing(tmp_path, monkeypatch, change):
    """A file from elsewhere, of another version of the networks, or of the day before, leaves the claim untested."""
    timed_as(monkeypatch, slower=2.0)
    check = f"{ECA} < {PLAIN}"
    verdict(tmp_path, check, True)
    file = tmp_path / "runs" / throughput.SPEEDS_FILE
    entries = json.loads(file.read_text())
    for entry in entries.values():
        if change is None:  # as version 0.1.0 wrote it
            del entry["machine"], entry["code"]
        else:
            entry.update(change)
    file.write_text(json.dumps(entries))
    assert verdict(tmp_path, check, False).outcome == "untested"


def test_a_verdict_says_that_other_programs_worked(tmp_path, monkeypatch):
    """Timings beside other work decide, since networks take turns, but the verdict has a label."""
    timed_as(monkeypatch, slower=2.0, others=1.5)
    found = verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    assert (found.outcome, len(found.labels), found.parts[0].cores_used_by_others) == ("holds", 1, 1.5)
    timed_as(monkeypatch, slower=2.0, others=0.05)
    assert verdict(tmp_path, f"{ECA} < {PLAIN}", True).labels == ()


def test_images_suit_the_claim(tmp_path, monkeypatch):
    """A claim on ImageNet is timed at 224 px with 1,000 classes, one about a CIFAR network at 32 px with 10."""
    times = timed_as(monkeypatch, slower=2.0)
    verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    verdict(tmp_path, "latency(resnet18 + eca) > latency(resnet18)", True, on="imagenet")
    verdict(tmp_path, "latency(resnet18 + eca) > latency(resnet18)", True, size=96)
    assert [(i.size, i.classes) for i in times] == [(32, 10), (224, 1000), (96, 1000)]


def test_real_networks_in_turn():
    """Each round has a time for each network, in the order asked for."""
    from attncli import validation
    from attncli.measure.several import time_networks
    from attncli.model import InputSpec

    recipes = [validation.read(values={"model.backbone": "resnet20", "model.attn": a}) for a in ("none", "simam")]
    found = time_networks(recipes, InputSpec(10, (8, 8)), rounds=2)
    assert [len(row) for row in (*found.train, *found.infer)] == [2] * 4
    assert all(t > 0 for row in found.train for t in row)


def test_an_entry_of_another_version_does_not_hide_the_others(tmp_path, monkeypatch):
    """Timings with a field that is unknown here, or that are no record at all, are left out one by one."""
    calls = timed_as(monkeypatch, 2)
    verdict(tmp_path, f"{ECA} < {PLAIN}", True)
    file = tmp_path / "runs" / throughput.SPEEDS_FILE
    kept = json.loads(file.read_text())
    (entry,) = kept.values()
    file.write_text(json.dumps({"newer": {**entry, "newest": 1}, "older": {"train": {}}, "none": None, **kept}))
    assert verdict(tmp_path, f"{ECA} < {PLAIN}", False).outcome == "holds"
    assert len(calls) == 1
    file.write_text("[]")
    assert verdict(tmp_path, f"{ECA} < {PLAIN}", False).outcome == "untested"


@pytest.mark.parametrize(("gpu", "device", "asked", "current"), [
    ("H200", "cuda:0", "", True), ("H200", "cpu", "cpu", True), ("H200", "cpu", "", False),
    ("H200", "cuda:0", "cpu", False), (None, "cpu", "", True), (None, "cpu", "cpu", True),
])  # fmt: skip
def test_figures_of_another_device_decide_nothing(gpu, device, asked, current, monkeypatch):
    """On a machine with a GPU, what `--device cpu` was timed with says nothing of the GPU, nor the other way round."""
    monkeypatch.setenv(DEVICE_VARIABLE, asked)
    monkeypatch.setattr(throughput, "compute_state", lambda: "now")
    monkeypatch.setattr(throughput.hardware, "is_this_machine", lambda machine: True)
    when = datetime.now(UTC).isoformat()
    assert NetworkTimings({}, {}, 1, "here", when, {"gpu": gpu}, "now", device=device).is_current == current
