"""Batches that are gathered and sent ahead: the same rows in their order, and nothing waits on a simulated GPU."""

from collections.abc import Sequence
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from torch import Tensor

from attncli.data import loader
from attncli.data.augmentation import crop_flip
from attncli.data.loader import iterate_train_batches
from attncli.data.prefetch import AHEAD, iterate_sent_batches
from tests.data.test_loader import dataset, evaluation, same, train
from tests.device.simulated_device import simulated_device


class HostSender:
    """A sender to the CPU; `notes` says what was sent and received."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.notes: list[str] = []

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory that is wrong until it is filled."""
        return torch.full(tuple(shape), 255, dtype=dtype)

    def send(self, batch: Tensor) -> Tensor:
        """Note it."""
        self.notes.append(f"send {int(batch.flatten()[0])}")
        return batch

    def receive(self, sent: Tensor) -> Tensor:
        """Note it."""
        self.notes.append(f"receive {int(sent.flatten()[0])}")
        return sent


@pytest.mark.parametrize("count", [0, 1, AHEAD, AHEAD + 1, 7])
def test_rows_come_in_their_order(count: int) -> None:
    """However many batches there are; each is sent before the one before it is received."""
    images, sender = torch.arange(20, dtype=torch.uint8)[:, None], HostSender()
    requests = [(n, torch.tensor([n, 19 - n])) for n in range(count)]
    received = list(iterate_sent_batches(images, requests, sender))
    assert [(n, x[:, 0].tolist()) for n, x in received] == [(n, [n, 19 - n]) for n in range(count)]
    for n in range(count - 1):
        assert sender.notes.index(f"send {n + 1}") < sender.notes.index(f"receive {n}")


def test_an_error_of_the_thread_is_raised() -> None:
    """A row that is not there ends the epoch instead of giving a wrong batch."""
    requests = [(0, torch.tensor([0])), (1, torch.tensor([99]))]
    with pytest.raises(IndexError):
        list(iterate_sent_batches(torch.zeros(3, 1, dtype=torch.uint8), requests, HostSender()))


def test_batches_of_a_gpu_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops, flips and labels are the same bits on the way through the sender."""
    expected = train(dataset())
    monkeypatch.setattr(loader, "SideStreamSender", HostSender)
    for module in (loader, crop_flip):
        monkeypatch.setattr(module, "send_to_device", lambda x, device: x)
    batches = train(dataset(), device=torch.device("cuda", 0))
    assert same(batches, expected)


def test_an_evaluation_is_sent_ahead_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image once, in order, also in inference mode, in which an evaluation is."""
    expected = evaluation(dataset())
    monkeypatch.setattr(loader, "SideStreamSender", HostSender)
    for module in (loader, crop_flip):
        monkeypatch.setattr(module, "send_to_device", lambda x, device: x)
    with torch.inference_mode():
        assert same(evaluation(dataset(), device=torch.device("cuda", 0)), expected)


def test_nothing_waits_on_a_simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in main memory come from pinned memory on the side stream, which the device's stream follows."""
    streams = mock.Mock()
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: streams.side)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(streams.entered(stream)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams.current)
    monkeypatch.setattr(Tensor, "record_stream", lambda x, stream: streams.kept(stream))
    data = dataset()
    with simulated_device() as (mode, accelerator):
        layout = loader.BatchLayout(batch_size=16, device=accelerator.device, channels_last=True)
        shapes = [x.shape for x, _ in iterate_train_batches(data.train, data, layout, seed=0, epoch=0)]
    assert shapes == [(16, 3, 8, 6)] * 3
    assert mode.ledger.waits == mode.ledger.mixed == {}
    assert {copy.split(" at ")[0] for copy in mode.ledger.copies} == {"pinned asynchronous"}
    assert sum(n for copy, n in mode.ledger.copies.items() if "prefetch" in copy) == 3
    assert streams.entered.call_args_list == [mock.call(streams.side)] * 3
    assert streams.current.wait_event.call_args_list == [mock.call(streams.side.record_event())] * 3
    assert streams.kept.call_args_list == [mock.call(streams.current)] * 3
