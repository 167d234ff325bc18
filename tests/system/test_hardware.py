"""What is told of the machine without torch, beside what torch tells."""

from types import SimpleNamespace

import pytest

from attncli.measure import environment
from attncli.system import hardware


def test_this_machine_is_this_machine() -> None:
    """What torch and its library say of this machine is recognised without them."""
    assert hardware.is_this_machine(environment.describe_machine())


@pytest.mark.parametrize("name", ["cpu", "usable_cpus", "platform", "torch", "torchvision", "gpu"])
def test_any_difference_makes_it_another(name: str) -> None:
    """One fact that differs is enough."""
    assert not hardware.is_this_machine(environment.describe_machine() | {name: "other"})


WHOLE, SMALL, LARGE = "NVIDIA H200", "NVIDIA H200 MIG 1g.18gb", "NVIDIA H200 MIG 3g.71gb"
DIVIDED = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa-1)
  MIG 3g.71gb     Device  0: (UUID: MIG-1111)
  MIG 1g.18gb     Device  1: (UUID: MIG-2222)
  MIG 1g.18gb     Device  2: (UUID: MIG-3333)
"""
SECOND = "GPU 1: NVIDIA H200 (UUID: GPU-bbbb-2)\n"


@pytest.mark.parametrize(
    ("listing", "visible", "names"),
    [
        (DIVIDED, None, (LARGE, SMALL, SMALL)),
        (DIVIDED, "MIG-2222", (SMALL,)),
        (DIVIDED, "MIG-1111", (LARGE,)),
        (DIVIDED + SECOND, None, (LARGE, SMALL, SMALL, WHOLE)),
        (DIVIDED + SECOND, "GPU-bbbb", (WHOLE,)),
        (DIVIDED + SECOND, "0", (LARGE, SMALL, SMALL, WHOLE)),
        (DIVIDED + SECOND, "", ()),
        (SECOND, None, (WHOLE,)),
        ("", None, ()),
    ],
)
def test_parts_of_a_gpu_are_machines_of_their_own(
    listing: str, visible: str | None, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is one kind of GPU with a part of the same size, and not with another or with the whole card."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(hardware.subprocess, "run", lambda *given, **more: SimpleNamespace(stdout=listing))
    hardware.list_gpu_names.cache_clear()
    machine = environment.describe_machine()
    try:
        assert hardware.list_gpu_names() == names
        for gpu in (WHOLE, SMALL, LARGE, None):
            assert hardware.is_this_machine({**machine, "gpu": gpu}) == (gpu in names if gpu else not names)
    finally:
        hardware.list_gpu_names.cache_clear()


def test_parts_are_known_by_their_identifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job of a sweep gets one; a whole card is none."""
    monkeypatch.setattr(hardware.subprocess, "run", lambda *given, **more: SimpleNamespace(stdout=DIVIDED + SECOND))
    assert hardware.list_gpu_parts() == ("MIG-1111", "MIG-2222", "MIG-3333")


def test_hidden_gpus_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES without a device hides them from torch, and so from here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    hardware.list_gpu_names.cache_clear()
    assert hardware.list_gpu_names() == ()
    hardware.list_gpu_names.cache_clear()
