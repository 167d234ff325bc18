"""Batches from main memory, prepared ahead of the GPU that trains on them.

A thread gathers the rows of the next batches, since pages of a mapped file are read only then, into pinned memory. The
copy of a batch runs on a side stream while the GPU works on the one before. Nothing waits for the GPU.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

AHEAD = 2  # batches that are gathered before they are needed; one more is on its way to the GPU
T = TypeVar("T")


class BatchSender(Protocol):
    """How batches come to a device."""

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return memory of the host from which it sends."""

    def send(self, batch: Tensor) -> Any:
        """Begin to send a batch."""

    def receive(self, sent: Any) -> Tensor:
        """Return the batch that `send` returned, in order with what the device does next."""


class SideStreamSender:
    """Sends from pinned memory on a stream of its own, which the device's stream follows."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return pinned memory; torch keeps such memory and gives it out again once its copy is over."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def send(self, batch: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        """Begin to copy a batch; the event is its end."""
        with torch.cuda.stream(self._stream):
            copy = batch.to(self._device, non_blocking=True)
            return copy, self._stream.record_event()

    def receive(self, sent: tuple[Tensor, torch.cuda.Event]) -> Tensor:
        """Let the device's current stream wait for the copy, and keep its memory until that stream is done with it."""
        copy, end = sent
        current = torch.cuda.current_stream(self._device)
        current.wait_event(end)
        copy.record_stream(current)
        return copy


def iterate_sent_batches(
    images: Tensor, requests: Iterable[tuple[T, Tensor]], sender: BatchSender
) -> Iterator[tuple[T, Tensor]]:
    """Yield the rows of each request on the sender's device.

    Args:
        images: (n, ...), in main memory.
        requests: (label of the caller, row numbers (b,)); the label is yielded with the images.
        sender: sends batches to the device.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="gather")
    gathering: deque[tuple[T, Future[Tensor]]] = deque()
    sent: deque[tuple[T, Any]] = deque()

    def send_next() -> None:
        label, gathered = gathering.popleft()
        sent.append((label, sender.send(gathered.result())))

    try:
        for label, rows in requests:
            buffer = sender.allocate((len(rows), *images.shape[1:]), images.dtype)
            gathering.append((label, pool.submit(_gather_into, buffer, images, rows)))
            if len(gathering) > AHEAD:
                send_next()
            if len(sent) > 1:
                yield _receive_next(sent, sender)
        while gathering:
            send_next()
            if len(sent) > 1:
                yield _receive_next(sent, sender)
        while sent:
            yield _receive_next(sent, sender)
    finally:
        pool.shutdown(cancel_futures=True)


def _gather_into(buffer: Tensor, images: Tensor, rows: Tensor) -> Tensor:
    """Copy rows of the images into the buffer and return it."""
    with torch.inference_mode():  # as the caller may be in it, which a thread does not inherit
        return torch.index_select(images, 0, rows, out=buffer)


def _receive_next(sent: "deque[tuple[T, Any]]", sender: BatchSender) -> tuple[T, Tensor]:
    label, handle = sent.popleft()
    return label, sender.receive(handle)
