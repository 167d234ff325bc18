"""Which GPUs the metrics of the machine are about."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attncli.track.system_metrics import _select_visible

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
