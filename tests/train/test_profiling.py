"""A profile of training: phases that add up, a trace with them in it, and a network left as it was."""

import gzip
import json

import pytest
import torch

from attncli.train import init_accelerator, profiling
from tests.train.case import dataset, net, recipe, run, same


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, table, network) of a profile."""
    folder, model = tmp_path_factory.mktemp("run"), net()
    return (
        folder,
        profiling.profile_training(
            model, dataset(), recipe(clip_norm=1.0, ema=0.9), folder, init_accelerator(), timed_steps=7
        ),
        model,
    )


def test_the_network_is_left_as_it_was(made):
    """What is profiled is a copy."""
    assert same(made[2], net())


def test_the_table_names_every_phase(made):
    """A line for each phase; the shares add up to the whole; the file holds the same and the operations."""
    folder, told, _ = made
    lines = told.splitlines()
    assert lines[0].startswith("7 steps of 8 images, ")
    assert tuple(line.split()[0] for line in lines[1:6]) == profiling.PHASES
    assert sum(float(line.split()[-1].rstrip("%")) for line in lines[1:6]) == pytest.approx(100, abs=0.3)
    text = (folder / "profile" / "table.txt").read_text()
    assert lines[1] in text
    assert "aten::" in text


def test_the_trace_shows_the_phases(made):
    """Every phase is a span of the trace, once a step."""
    with gzip.open(made[0] / "profile" / "trace.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    spans = [e["name"] for e in events if e.get("cat") == "user_annotation"]
    assert all(spans.count(f"# {phase}") == profiling.TRACED_STEPS for phase in profiling.PHASES[:4])


def test_time_goes_to_the_phase_it_is_spent_in(monkeypatch):
    """The clock of a phase runs from its beginning to the next one's."""
    clock = iter([0.0, 1.0, 3.0, 3.5, 10.0])
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: next(clock))
    phases = profiling.PhaseTimer(torch.device("cpu"), phase_started_at=profiling.time.perf_counter())
    for phase in ("data", "forward", "data"):
        phases.enter_phase(phase)
    phases.close()
    assert phases.seconds == {"data": 8.5, "forward": 0.5, "backward": 0.0, "optimiser": 0.0, "other": 1.0}


def test_hooks_are_gone_afterwards(tmp_path):
    """Training after a profile is the training without it, to the bit."""
    profiled, plain = net(), net()
    profiling.profile_training(profiled, dataset(), recipe(), tmp_path, init_accelerator(), timed_steps=1)
    run(profiled, recipe())
    run(plain, recipe())
    assert same(profiled, plain)
