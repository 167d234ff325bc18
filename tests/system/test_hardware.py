"""What is told of the machine without torch, beside what torch tells."""

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


def test_hidden_gpus_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA_VISIBLE_DEVICES without a device hides them from torch, and so from here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    hardware.list_gpu_names.cache_clear()
    assert hardware.list_gpu_names() == ()
    hardware.list_gpu_names.cache_clear()
