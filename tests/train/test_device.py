"""The device of a command: what is asked for, what is there, what others hold; and settings of Accelerate."""

from typing import Any

import pytest
import torch
from torch import nn

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Train
from attncli.system import gpu_support
from attncli.train import device as devices
from attncli.train import distributed
from attncli.train.device import choose_device, convert_to_channels_last, list_device_notes, uses_channels_last


@pytest.fixture(autouse=True)
def _no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (gpu_support.DEVICE_VARIABLE, "ACCELERATE_USE_CPU", *(s[0] for s in devices.IGNORED_SETTINGS)):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(gpu_support, "find_gpu_obstacle", lambda: None)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Two CUDA devices; the first operation on one raises what is put into this list."""
    failures: list[Exception] = []
    plain_zeros = torch.zeros

    def zeros(*shape: int, device: Any = None, **options: Any) -> torch.Tensor:
        if device is not None and torch.device(device).type == "cuda":
            if failures:
                raise failures[0]
            device = "cpu"
        return plain_zeros(*shape, device=device, **options)

    monkeypatch.setattr(torch, "zeros", zeros)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current = [0]
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    return failures


def ask(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ask for a device as `--device` does."""
    monkeypatch.setenv(gpu_support.DEVICE_VARIABLE, name)


def test_gpu_is_taken_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception]) -> None:
    """It has its number, as tensors name it."""
    assert choose_device() == torch.device("cuda", 0)
    ask(monkeypatch, "cuda:1")
    assert choose_device() == torch.device("cuda", 1)
    ask(monkeypatch, "cpu")
    assert choose_device() == torch.device("cpu")


def test_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception]) -> None:
    """The number is compared with how many there are, and a missing type is said with the reason."""
    ask(monkeypatch, "cuda:9")
    with pytest.raises(UserError, match="there are 2 devices") as caught:
        choose_device()
    assert (caught.value.code, "cuda:1" in caught.value.hint) == (2, True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_support, "find_gpu_obstacle", lambda: ("driver 570 is too old", "install 580"))
    with pytest.raises(UserError, match="--device cuda:9: driver 570 is too old") as caught:
        choose_device()
    assert caught.value.hint == "install 580"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("CUDA error: out of memory\nand more", RunFailedError, "cuda:0: CUDA error: out of memory"),
        ("CUDA error: all CUDA-capable devices are busy or unavailable", RunFailedError, "busy"),
        ("CUDA error: no kernel image is available for execution", UserError, "V100 (compute capability 7.0)"),
        ("HIP error: invalid device function", UserError, "V100 (compute capability 7.0)"),
        ("CUDA error: something new", UserError, "something new"),
    ],
)
def test_first_operation_that_fails(
    monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception], text: str, kind: type[UserError], words: str
) -> None:
    """A full GPU is a failed run, one without kernels bad input; both in one line."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "V100")
    two_gpus.append(RuntimeError(text))
    with pytest.raises(kind) as caught:
        choose_device()
    assert words in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.code == (1 if kind is RunFailedError else 2)


def test_notes_on_idle_and_unusable_gpus(monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception]) -> None:
    """One line if a GPU stays idle, or if the CPU is used although there are GPUs; none if that was asked for."""
    (note,) = list_device_notes(torch.device("cuda", 0), 1)
    assert "1 other GPU is idle" in note
    assert "--processes 2" in note
    assert list_device_notes(torch.device("cuda", 0), 2) == []
    monkeypatch.setattr(gpu_support, "find_gpu_obstacle", lambda: ("driver 570 is too old", "install 580"))
    (note,) = list_device_notes(torch.device("cpu"), 1)
    assert "driver 570 is too old" in note
    ask(monkeypatch, "cpu")
    assert list_device_notes(torch.device("cpu"), 1) == []


def test_settings_of_accelerate_that_others_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision, accumulation and compiler are reported with the key that decides them."""
    values = {"MIXED_PRECISION": "fp16", "GRADIENT_ACCUMULATION_STEPS": "4", "DYNAMO_BACKEND": "INDUCTOR"}
    for name, value in values.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    notes = list_device_notes(torch.device("cpu"), 1)
    keys = ("train.precision", "train.accumulate", "train.compile")
    assert [key for key in keys if any(note.endswith(f"{key} decides") for note in notes)] == list(keys)
    for name, value in zip(values, ("no", "1", "NO"), strict=True):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert list_device_notes(torch.device("cpu"), 1) == []


@pytest.mark.parametrize("variable", [f"ACCELERATE_USE_{name}" for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM")])
def test_other_ways_of_training_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """FSDP would train flattened copies of the weights, DeepSpeed each process for itself."""
    monkeypatch.setenv(variable, "true")
    with pytest.raises(UserError, match="accelerate config asks for"):
        distributed.init_accelerator()


def test_settings_that_accelerate_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named with its value, in one line; Accelerate's own error has neither."""
    monkeypatch.setenv("ACCELERATE_DEBUG_MODE", "Perhaps")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")

    def refuse(**given: Any) -> None:
        raise ValueError("invalid truth value perhaps")

    monkeypatch.setattr(distributed, "Accelerator", refuse)
    with pytest.raises(UserError, match="ACCELERATE_DEBUG_MODE=Perhaps: invalid truth value") as caught:
        distributed._make_accelerator(1, 1)
    assert "ACCELERATE_" in caught.value.hint


def test_compiler_of_accelerate_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, Accelerate neither compiles nor changes how float32 is multiplied."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    options: dict[str, Any] = {}
    monkeypatch.setattr(distributed, "Accelerator", lambda **given: options.update(given))
    distributed._make_accelerator(1, 1)
    assert (options["dynamo_backend"], options["mixed_precision"]) == ("no", "no")
    assert options["kwargs_handlers"][0].to_kwargs() == {"broadcast_buffers": False, "gradient_as_bucket_view": True}


def test_ranks_and_gpus(monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception]) -> None:
    """More processes than GPUs are refused before they meet; Apple's GPU leaves several processes to the CPU."""
    assert distributed.choose_rank_device(2, 2) == torch.device("cuda")
    assert distributed.choose_rank_device(4, 2) == torch.device("cuda")
    with pytest.raises(UserError, match="3 processes on this machine, and torch finds 2 GPUs"):
        distributed.choose_rank_device(3, 3)
    ask(monkeypatch, "cpu")
    assert distributed.choose_rank_device(3, 3) == torch.device("cpu")
    for name in ("cuda:1", "mps"):
        ask(monkeypatch, name)
        with pytest.raises(UserError, match=f"--device {name} for 2 processes"):
            distributed.choose_rank_device(2, 2)
    monkeypatch.delenv(gpu_support.DEVICE_VARIABLE)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    assert distributed.choose_rank_device(2, 2) == torch.device("cpu")


def test_old_rtx_40_cards(monkeypatch: pytest.MonkeyPatch, two_gpus: list[Exception]) -> None:
    """Where Accelerate would refuse them, NCCL's two ways that they lack are switched off."""
    monkeypatch.setenv("NCCL_P2P_DISABLE", "0")
    monkeypatch.setenv("NCCL_IB_DISABLE", "0")
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "")
    monkeypatch.setattr(distributed, "check_cuda_p2p_ib_support", lambda: False)
    monkeypatch.setattr(distributed, "Accelerator", lambda **given: None)
    distributed._make_accelerator(1, 1)
    assert {distributed.os.environ[f"NCCL_{name}_DISABLE"] for name in ("P2P", "IB")} == {"1"}
    assert distributed.os.environ["ACCELERATE_TORCH_DEVICE"] == "cuda:0"


@pytest.mark.parametrize(("version", "expected"), [("2.13.0", False), ("2.14.0", True)])
def test_channels_last_where_norms_are_right(monkeypatch: pytest.MonkeyPatch, version: str, expected: bool) -> None:
    """On Apple GPUs an older torch gives wrong gradients in it."""
    monkeypatch.setattr(torch, "__version__", version)
    assert uses_channels_last(Train(), torch.device("mps")) is expected
    assert uses_channels_last(Train(), torch.device("cuda"))
    assert not uses_channels_last(Train(channels_last=False), torch.device("cpu"))


def test_modes_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode is torch.compile's; true is its default, false compiles nothing."""
    modes: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net, mode: modes.append(mode))
    for value in (False, True, "reduce-overhead"):
        devices.compile_network(torch.nn.Identity(), Train(compile=value))
    assert modes == [None, "reduce-overhead"]


def test_seeding_queues_nothing_for_devices_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed keeps a formatted stack for each of them, 0.3 to 0.8 ms a step."""
    seeded: list[tuple[str, int]] = []

    class Generator:
        def manual_seed(self, seed: int) -> None:
            seeded.append(("cuda:1", seed))

    monkeypatch.setattr(torch, "manual_seed", None)
    monkeypatch.setattr(torch.cuda, "default_generators", (None, Generator()))
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: seeded.append(("mps", seed)))
    for device in (torch.device("cpu"), torch.device("cuda", 1), torch.device("mps", 0)):
        distributed.seed_everything(7, device)
        assert torch.initial_seed() == 7
    assert seeded == [("cuda:1", 7), ("mps", 7)]


def test_weights_of_five_axes_stay_as_they_are() -> None:
    """A mechanism with a 3-D convolution trains in channels_last: torch's own conversion raises for it."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3))
    weights = list(net.parameters())
    convert_to_channels_last(net)
    assert list(map(id, net.parameters())) == list(map(id, weights))
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert net[1].weight.is_contiguous()
