"""Whether torch can use the GPUs of a machine, by the words of its driver; and the names of devices."""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from attncli.errors import UserError
from attncli.system import gpu_support, hardware
from attncli.system.gpu_support import TorchBuild, check_device_name, find_gpu_obstacle, read_requested_device

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend a machine with these GPUs, driver, compute capabilities and build of torch."""

    def pretend(
        names: tuple[str, ...] = ("NVIDIA A100",), driver: str = "580.65", caps: tuple[str, ...] = ("8.0",),
        cuda: str = "13.0", library: int = 12,
    ) -> None:  # fmt: skip
        numbers = tuple(map(str, range(len(names))))
        columns = {"driver_version": (driver,) * len(names), "compute_cap": caps, "name": names, "index": numbers}
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(hardware, "list_gpu_names", lambda: names)
        monkeypatch.setattr(hardware, "query_gpus", columns.__getitem__)
        monkeypatch.setattr(hardware, "read_driver_cuda_release", lambda: library)
        monkeypatch.setattr(gpu_support, "read_torch_build", lambda: TorchBuild("2.14.1", cuda, ""))
        find_gpu_obstacle.cache_clear()

    yield pretend
    find_gpu_obstacle.cache_clear()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"driver": "570.86.15"}, ("driver 570.86.15", "CUDA 13.0", "580")),
        ({"driver": "515.1", "cuda": "12.4", "library": 11}, ("driver 515.1", "CUDA 12.4", "525")),
        ({"names": ("Tesla V100",), "caps": ("7.0",)}, ("capability 7.0", "7.5", "cu126")),
        ({"cuda": ""}, ("without CUDA", "torch 2.14.1", "cu126")),
    ],
)
def test_gpu_that_torch_cannot_use(machine: Machine, told: dict[str, object], words: tuple[str, ...]) -> None:
    """Driver, card or build: both versions and the remedy are told."""
    machine(**told)
    obstacle = find_gpu_obstacle()
    assert obstacle is not None
    for word in words:
        assert word in " ".join(obstacle)


@pytest.mark.parametrize(
    ("visible", "is_usable"),
    [
        ("1", True), ("GPU-ab", True), ("GPU-ab34", True), ("0,7", True), ("GPU-cd,GPU-ff", True),
        ("2", False), ("nonsense", False), ("7,0", False), ("1,1", False),
        ("GPU-ff", False),  # copied from another machine
        ("GPU-", False),  # begins both
        ("GPU-ab,GPU-ab34", False),
    ],
)  # fmt: skip
def test_variable_that_names_no_gpu(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str, is_usable: bool
) -> None:
    """CUDA then finds none, and a run would train on the CPU without a word."""
    machine(names=("NVIDIA A100",) * 2, caps=("8.0",) * 2)
    monkeypatch.setattr(hardware, "list_gpu_identifiers", lambda: {"GPU-ab34", "GPU-cd56"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    obstacle = find_gpu_obstacle()
    assert (obstacle is None) is is_usable
    if obstacle:
        assert f"CUDA_VISIBLE_DEVICES={visible} selects none" in obstacle[0]
        assert "from 0 to 1" in obstacle[1]


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"names": ()},
        {"driver": "525.60", "cuda": "12.4"},
        {"driver": "570.86.15", "library": 13},  # with NVIDIA's compatibility package
        {"driver": "[N/A]"},
        {"names": ("V100", "H100"), "caps": ("7.0", "9.0")},
        {"driver": "700.1", "cuda": "14.0"},
    ],
)
def test_nothing_is_said_of_gpus_that_work(machine: Machine, told: dict[str, object]) -> None:
    """Nor of a machine without GPUs, of words that are not understood, or if one of several cards will do."""
    machine(**told)
    assert find_gpu_obstacle() is None


def test_release_that_the_drivers_library_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for its number, 13020 for CUDA 13.2; one that fails, or is not there, runs none."""
    for answer, status, release in ((13020, 0, 13), (12080, 0, 12), (13000, 3, 0)):

        def tell(place: Any, answer: int = answer, status: int = status) -> int:
            place._obj.value = answer
            return status

        monkeypatch.setattr(ctypes, "CDLL", lambda name, tell=tell: SimpleNamespace(cuDriverGetVersion=tell))
        assert hardware.read_driver_cuda_release.__wrapped__() == release
    monkeypatch.setattr(ctypes, "CDLL", mock.Mock(side_effect=OSError("libcuda.so.1: cannot open")))
    assert hardware.read_driver_cuda_release.__wrapped__() == 0


def test_build_of_torch_is_read_without_loading_it() -> None:
    """The version is that of the package itself."""
    import torch

    build = gpu_support.read_torch_build.__wrapped__()
    assert (build.version, build.cuda) == (str(torch.__version__), torch.version.cuda or "")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:11", "mps", "xpu:0"])
def test_device_names(name: str) -> None:
    """A type, for CUDA with a number."""
    assert check_device_name(name) == name


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:300", "mps:0", "", "CUDA"])
def test_other_device_names_are_refused(name: str) -> None:
    """The hint shows what is allowed."""
    with pytest.raises(UserError, match="--device") as caught:
        check_device_name(name)
    assert "cuda:1" in caught.value.hint


@pytest.mark.parametrize(("name", "meant"), [("gpu", "cuda"), ("GPU:1", "cuda"), ("rocm", "cuda"), ("metal", "mps")])
def test_other_words_for_devices(name: str, meant: str) -> None:
    """What people call a device leads to its name."""
    with pytest.raises(UserError) as caught:
        check_device_name(name)
    assert f"did you mean '{meant}'?" in caught.value.hint


def test_request_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """--device beats Accelerate's variable, which asks for the CPU."""
    monkeypatch.delenv(gpu_support.DEVICE_VARIABLE, raising=False)
    for value, expected in (("true", "cpu"), ("false", ""), ("", "")):
        monkeypatch.setenv("ACCELERATE_USE_CPU", value)
        assert read_requested_device() == expected
    monkeypatch.setenv(gpu_support.DEVICE_VARIABLE, "cuda:1")
    assert read_requested_device() == "cuda:1"
