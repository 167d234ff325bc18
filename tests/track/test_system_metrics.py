"""Which GPUs the metrics of the machine are about."""

import queue
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attncli.track import system_metrics
from attncli.track.system_metrics import SystemSampler, _select_visible

BUSES = (0x17, 0x65, 0xCA)  # of three cards, in NVML's order


def give_cards(monkeypatch: pytest.MonkeyPatch, visible: list[int] | None, *, with_places: bool = True) -> None:
    """Let torch see the cards with these numbers of NVML's, in this order; None: it uses no GPU."""

    def read_properties(i: int) -> Any:
        assert visible is not None
        place = {"pci_domain_id": 0, "pci_bus_id": BUSES[visible[i]], "pci_device_id": 0}
        return SimpleNamespace(name="card", **(place if with_places else {}))

    def read_place(handle: str) -> Any:
        return SimpleNamespace(domain=0, bus=BUSES["abc".index(handle)], device=0)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: visible is not None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(visible or []))
    monkeypatch.setattr(torch.cuda, "get_device_properties", read_properties)
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlDeviceGetPciInfo=read_place))


@pytest.mark.parametrize(
    ("visible", "selected"),
    [([2, 0, 1], "cab"), ([1], "b"), ([2, 2], "c"), (None, "")],
    ids=["fastest first", "one", "two parts of a card", "on a CPU"],
)
def test_the_cards_are_those_of_torch(
    visible: list[int] | None, selected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torch's order, whatever CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER say; each card once."""
    give_cards(monkeypatch, visible)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert _select_visible(list("abc")) == list(selected)


def test_without_places_all_cards_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older torch does not say where a card is."""
    give_cards(monkeypatch, [1], with_places=False)
    assert _select_visible(list("abc")) == list("abc")


def test_a_run_that_begins_with_its_gpu_later_has_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA starts with the first tensor on a card, which is after the first samples of many runs."""
    uses, samples = iter([False, True]), queue.Queue()

    class Collector:
        def collect_metrics(self) -> None:
            """Nothing to read."""

        def aggregate_metrics(self) -> dict[str, float]:
            return {"gpu_0_utilization": 50.0}

        def clear_metrics(self) -> None:
            """Nothing to forget."""

    monkeypatch.setattr(system_metrics, "FAST_S", 0.01)
    monkeypatch.setattr(system_metrics, "_make_collectors", list)
    monkeypatch.setattr(system_metrics, "_make_gpu_collectors", lambda: [Collector()])
    monkeypatch.setattr(system_metrics, "_uses_cuda", lambda: next(uses))
    sampler = SystemSampler(samples.put, 0)
    keys = [[point.key for point in samples.get(timeout=60)] for _ in range(3)]
    sampler.stop_sampling()
    assert keys == [[], ["system/gpu_0_utilization"], ["system/gpu_0_utilization"]]
