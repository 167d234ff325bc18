"""Steps through static tensors, as a CUDA graph replays them: the same weights, and what cannot be captured."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.train import step_graph
from attncli.train.step_graph import WARMUP_STEPS, CudaCapture, StepGraph, find_graph_obstacle, make_step_graph
from tests.train.case import figures, net, recipe, run, same

GPU = torch.device("cuda", 0)
Work = Callable[[], Tensor]


class Repeater:
    """A backend that repeats the captured work with the same tensors, as a graph does; it notes what it did."""

    def __init__(self, device: torch.device) -> None:
        self.notes: list[str] = []
        REPEATERS.append(self)

    def run_aside(self, work: Work) -> Tensor:
        """Run it here."""
        self.notes.append("aside")
        return work()

    def capture(self, work: Work) -> Work:
        """Return the work; nothing runs."""
        self.notes.append("capture")

        def replay() -> Tensor:
            self.notes.append("replay")
            return work()

        return replay


REPEATERS: list[Repeater] = []


@pytest.fixture
def repeaters(monkeypatch: pytest.MonkeyPatch) -> list[Repeater]:
    """Steps are captured on the CPU; the backends that do it."""
    monkeypatch.setattr(step_graph, "CudaCapture", Repeater)
    monkeypatch.setattr(step_graph, "find_graph_obstacle", lambda *given: "")
    REPEATERS.clear()
    return REPEATERS


@pytest.mark.parametrize("keys", [{}, {"clip_norm": 0.5, "ema": 0.9, "accumulate": 2}], ids=["plain", "all"])
def test_captured_steps_give_the_same_bits(repeaters: list[Repeater], keys: dict[str, Any]) -> None:
    """Weights and figures are those of usual steps, over epochs of six steps with a learning rate that changes."""
    usual, captured = net(), net()
    expected = run(usual, recipe(**keys))
    assert figures(run(captured, recipe(**keys, graph=True))) == figures(expected)
    assert same(usual, captured)
    (repeater,) = repeaters
    assert repeater.notes[: WARMUP_STEPS + 2] == ["aside"] * WARMUP_STEPS + ["capture", "replay"]
    assert (repeater.notes.count("capture"), repeater.notes.count("replay")) == (3, 3 * 6 - WARMUP_STEPS)


def test_adam_reads_its_rate_from_the_device(repeaters: list[Repeater]) -> None:
    """Its rate is float32 then, so its weights agree up to rounding; with another rate they would not."""
    usual, captured = net(), net()
    run(usual, recipe(optimizer="adamw", lr=0.001))
    run(captured, recipe(optimizer="adamw", lr=0.001, graph=True))
    for a, b in zip(usual.parameters(), captured.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_usual_steps_are_the_default(repeaters: list[Repeater]) -> None:
    """Nothing is captured unless the recipe says so."""
    run(net(), recipe(epochs=1))
    assert repeaters == []


@pytest.mark.parametrize(
    ("keys", "device", "precision", "processes", "words"),
    [
        ({}, torch.device("cpu"), "fp32", 1, "on 'cpu'"),
        ({}, torch.device("mps", 0), "fp32", 1, "on 'mps'"),
        ({}, GPU, "bf16", 2, "2 processes"),
        ({}, GPU, "fp16", 1, "fp16"),
        ({"compile": True}, GPU, "bf16", 1, "train.compile"),
    ],
)
def test_what_is_in_the_way(
    keys: dict[str, Any], device: torch.device, precision: str, processes: int, words: str
) -> None:
    """`on` is refused in one line that says why; `auto` trains without a graph."""
    optimizer = torch.optim.SGD(net().parameters(), lr=0.1)
    with pytest.raises(UserError, match=words) as caught:
        make_step_graph(recipe(graph=True, **keys), optimizer, device, precision, processes)
    assert "train.graph=auto" in caught.value.hint
    assert make_step_graph(recipe(graph="auto", **keys), optimizer, device, precision, processes) is None


def test_auto_leaves_out_code_that_is_not_known() -> None:
    """A mechanism in a file of the user's own may decide on the host; `on` takes it, and so do the known ones."""
    own, known = (
        Recipe.model_validate({"model": {"attn": attn}, "train": {"graph": "auto"}}) for attn in ("a.py", "se")
    )
    assert find_graph_obstacle(own, GPU, "bf16")
    asked = own.model_copy(update={"train": own.train.model_copy(update={"graph": True})})
    assert find_graph_obstacle(asked, GPU, "bf16") == find_graph_obstacle(known, GPU, "bf16") == ""


def test_refusal_comes_before_the_training() -> None:
    """`run` asks before it reads any image."""
    with pytest.raises(UserError, match=r"train\.graph=on"):
        run(net(), recipe(graph=True))


def test_step_that_cannot_be_captured() -> None:
    """What CUDA says is in the one line, with the remedy."""
    backend = mock.Mock()
    backend.run_aside.side_effect = lambda work: work()
    backend.capture.side_effect = RuntimeError("operation not permitted when stream is capturing\nmore")
    graph = StepGraph(torch.optim.SGD(net().parameters(), lr=0.1), torch.device("cpu"), backend)
    step = mock.Mock(return_value=torch.tensor(1.0))
    for _ in range(WARMUP_STEPS):
        graph.run(step, torch.ones(2), torch.ones(2))
    with pytest.raises(RunFailedError, match="not permitted") as caught:
        graph.run(step, torch.ones(2), torch.ones(2))
    assert "train.graph=off" in caught.value.hint


def test_side_stream_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for what was started before, and what comes after waits for it; the capture uses the same stream."""
    events = mock.Mock()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: events.current)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: events.side)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: mock.MagicMock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: events.made)
    monkeypatch.setattr(torch.cuda, "graph", lambda made, **given: events.graph(made, **given) and mock.MagicMock())
    capture = CudaCapture(GPU)
    assert float(capture.run_aside(lambda: torch.tensor(2.0))) == 2.0
    replay = capture.capture(lambda: torch.tensor(3.0))
    assert events.mock_calls[:2] == [
        mock.call.side.wait_stream(events.current), mock.call.current.wait_stream(events.side),
    ]  # fmt: skip
    assert events.graph.call_args.kwargs["stream"] is events.side
    assert float(replay()) == 3.0
    events.made.replay.assert_called_once_with()


def test_a_new_epoch_is_captured_again() -> None:
    """So numbers that a module sets in Python at its start are not those of the first epoch for ever."""
    repeater = Repeater(torch.device("cpu"))
    graph = StepGraph(torch.optim.SGD(net().parameters(), lr=0.1), torch.device("cpu"), repeater)
    for _ in range(2):
        for _ in range(WARMUP_STEPS + 1):
            graph.run(lambda images, labels: images.sum(), torch.ones(2), torch.ones(2))
        graph.discard()
    assert repeater.notes.count("capture") == 2
