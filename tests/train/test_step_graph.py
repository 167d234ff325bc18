"""Steps through static tensors, as a CUDA graph replays them: the same weights, and what cannot be captured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from attncli import attention
from attncli.backbones.surgery import mark_mechanism
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.train import loop, step_graph
from attncli.train.step_graph import (
    WARMUP_STEPS,
    CudaCapture,
    StepGraph,
    agree_on_steps,
    check_graph,
    describe_usual_steps,
    find_graph_obstacle,
    make_step_graph,
)
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
    trained = net()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    with pytest.raises(UserError, match=words) as caught:
        make_step_graph(recipe(graph=True, **keys), trained, optimizer, device, precision, processes)
    assert "train.graph=auto" in caught.value.hint
    assert make_step_graph(recipe(graph="auto", **keys), trained, optimizer, device, precision, processes) is None


@pytest.mark.parametrize(
    ("attn", "backbone"),
    [("a.py", "resnet18"), ("se+a.py:B", "resnet18"), ("none", "b.py:Net"), ("plugin", "resnet18")],
)
def test_auto_leaves_out_code_that_is_not_known(attn: str, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of the user's, or of another package, may decide on the host; `on` takes it, and so do the known ones."""
    installed = attention.InstalledMechanism("plugin", Path("plugin.py"), "1")
    monkeypatch.setattr(attention, "_find_installed_mechanisms", lambda: {"plugin": installed})
    own, known = (
        Recipe.model_validate({"model": {"attn": a, "backbone": b}, "train": {"graph": "auto"}})
        for a, b in ((attn, backbone), ("se", "resnet18"))
    )
    assert find_graph_obstacle(own, GPU, "bf16")
    steps = agree_on_steps((own, own.make_baseline()), (net(), net()), GPU, "bf16")
    assert [step_recipe.train.graph for step_recipe in steps] == [False, False]
    asked = own.model_copy(update={"train": own.train.model_copy(update={"graph": True})})
    assert find_graph_obstacle(asked, GPU, "bf16") == find_graph_obstacle(known, GPU, "bf16") == ""


@pytest.mark.parametrize("graph", [True, "auto"])
def test_streams_of_mechanisms_are_not_captured(graph: Any) -> None:
    """The host sets them: `on` is refused, `auto` says why its steps are usual ones; both networks are timed so."""
    host, plain = nn.Sequential(nn.Sequential(), nn.Dropout(0.5)), nn.Sequential(nn.Dropout(0.5))
    host[0].add_module("attn", nn.Dropout(0.2))
    mark_mechanism(host[0].attn, "noise")
    asked = recipe(graph=graph)
    assert find_graph_obstacle(asked, GPU, "bf16", 1, plain) == ""
    assert "0.attn" in find_graph_obstacle(asked, GPU, "bf16", 1, host)
    if graph is True:
        with pytest.raises(UserError, match=r"0\.attn"):
            check_graph(asked, GPU, "bf16", 1, host)
    else:
        assert "0.attn" in describe_usual_steps(asked, host, GPU, "bf16", 1)
        assert describe_usual_steps(asked, plain, GPU, "bf16", 1) == ""
        steps = agree_on_steps((asked, asked), (host, plain), GPU, "bf16")
        assert [step_recipe.train.graph for step_recipe in steps] == [False, False]


@pytest.mark.parametrize("make", [lambda: DeformConv2d(8, 8, 3), lambda: attention.load("dcn").Attention(8, 8)])
def test_kernels_on_another_stream_are_not_captured(
    make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until torchvision 0.29 a deformable convolution runs on the default stream, and no replay would repeat it."""
    host = nn.Sequential(nn.Conv2d(8, 8, 1), make())
    for version, words in (("0.28.1+cu126", "0.28.1"), ("0.29.1+cu130", ""), ("1.0.0", "")):
        monkeypatch.setattr(torchvision, "__version__", version)
        assert words in find_graph_obstacle(recipe(graph=True), GPU, "bf16", 1, host)
        assert bool(find_graph_obstacle(recipe(graph=True), GPU, "bf16", 1, host)) == bool(words)
        assert find_graph_obstacle(recipe(graph=True), GPU, "bf16", 1, net()) == ""


def test_refusal_comes_before_the_training() -> None:
    """`run` asks before it reads any image."""
    with pytest.raises(UserError, match=r"train\.graph=on"):
        run(net(), recipe(graph=True))


def test_step_that_cannot_be_captured() -> None:
    """What CUDA says is in the one line, with the remedy."""
    backend = mock.Mock()
    backend.run_aside.side_effect = lambda work: work()
    backend.capture.side_effect = RuntimeError("operation not permitted when stream is capturing\nmore")
    graph = StepGraph(net(), torch.optim.SGD(net().parameters(), lr=0.1), torch.device("cpu"), backend)
    step = mock.Mock(return_value=torch.tensor(1.0))
    for _ in range(WARMUP_STEPS):
        graph.run(step, torch.ones(2), torch.ones(2))
    with pytest.raises(RunFailedError, match="not permitted") as caught:
        graph.run(step, torch.ones(2), torch.ones(2))
    assert "train.graph=off" in caught.value.hint


@pytest.mark.parametrize(
    ("first", "told", "words"),
    [
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), RunFailedError, "not permitted"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), torch.OutOfMemoryError, "Tried"),
    ],
)
def test_the_cause_of_a_broken_capture_is_told(first: RuntimeError, told: type[Exception], words: str) -> None:
    """torch ends the capture when a step fails; that raises an error of its own, which hides the first."""

    class Breaking(Repeater):
        def capture(self, work: Work) -> Work:
            try:
                raise first
            finally:  # torch.cuda.graph.__exit__
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    graph = StepGraph(net(), torch.optim.SGD(net().parameters(), lr=0.1), torch.device("cpu"), Breaking(GPU))
    for _ in range(WARMUP_STEPS):
        graph.run(lambda images, labels: images.sum(), torch.ones(2), torch.ones(2))
    with pytest.raises(told, match=words):
        graph.run(lambda images, labels: images.sum(), torch.ones(2), torch.ones(2))


def test_evaluations_have_the_memory_of_the_captured_step(
    repeaters: list[Repeater], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph keeps what its step allocates, so none is there while the network is evaluated after an epoch."""
    graphs, captured = [], []
    monkeypatch.setattr(step_graph, "StepGraph", lambda *given: graphs.append(StepGraph(*given)) or graphs[-1])
    usual = loop.validate_epoch
    monkeypatch.setattr(loop, "validate_epoch", lambda session: captured.append(graphs[0]._replay) or usual(session))
    run(net(), recipe(graph=True))
    assert captured == [None] * 3


def test_replays_count_batches_of_norms() -> None:
    """Their counters are in main memory, which a replay does not change: each step adds what the captured one added."""
    norm, backend = nn.BatchNorm1d(2), mock.Mock()
    backend.run_aside.side_effect = lambda work: work()
    backend.capture.side_effect = lambda work: mock.Mock(return_value=work())  # the host's part runs once
    graph = StepGraph(norm, torch.optim.SGD(norm.parameters(), lr=0.1), torch.device("cpu"), backend)
    for step in range(1, WARMUP_STEPS + 4):
        graph.run(lambda images, labels: norm(images).sum() + norm(images).sum(), torch.ones(3, 2), torch.ones(3))
        assert norm.num_batches_tracked == 2 * step


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
    graph = StepGraph(net(), torch.optim.SGD(net().parameters(), lr=0.1), torch.device("cpu"), repeater)
    for _ in range(2):
        for _ in range(WARMUP_STEPS + 1):
            graph.run(lambda images, labels: images.sum(), torch.ones(2), torch.ones(2))
        graph.discard()
    assert repeater.notes.count("capture") == 2
