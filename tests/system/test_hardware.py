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


MILAN = ["processor\t: 0", "cpu family\t: 25", "model\t\t: 1", "model name\t: AMD EPYC", "", "model\t\t: 99"]
CLOUD = ["cpu family\t: 6", "model\t: 85", "model name\t: Intel(R) Xeon(R) CPU @ 2.00GHz"]
NAMED = ["cpu family\t: 23", "model\t: 49", "model name\t: AMD EPYC 7B12"]
GRAVITON = ["processor\t: 0", "CPU implementer\t: 0x41", "CPU part\t: 0xd40", "", "CPU part\t: 0xd4f"]


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (MILAN, "AMD EPYC (family 25, model 1)"),
        (CLOUD, "Intel(R) Xeon(R) CPU @ 2.00GHz (family 6, model 85)"),
        (NAMED, "AMD EPYC 7B12"),
        (["model name : 13th Gen Intel(R) Core(TM) i5-1340P"], "13th Gen Intel(R) Core(TM) i5-1340P"),
        (GRAVITON, "aarch64 (implementer 0x41, part 0xd40)"),
        (["processor : 0"], "aarch64"),
        ([], "aarch64"),
    ],
)
def test_processors_with_one_name_are_told_apart(lines: list[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual machines hide the number of the processor, and ARM has no name; figures of two kinds must not mix."""
    monkeypatch.setattr(hardware.sys, "platform", "linux")
    monkeypatch.setattr(hardware, "read_cpuinfo_lines", lambda: lines)
    monkeypatch.setattr(hardware.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(hardware.platform, "processor", lambda: "")
    assert hardware.read_processor_name.__wrapped__() == name


@pytest.mark.parametrize(("stdout", "name"), [("Apple M3 Pro\n", "Apple M3 Pro"), ("", "arm64")])
def test_macs_are_named_by_their_chip(stdout: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An M1 and an M4 are both `arm` for Python."""
    monkeypatch.setattr(hardware.sys, "platform", "darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(hardware.subprocess, "run", lambda *given, **more: SimpleNamespace(stdout=stdout))
    assert hardware.read_processor_name.__wrapped__() == name


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
