"""The device on which a command computes: that of `--device`, else the accelerator that torch finds, else the CPU."""

import os

import torch
from torch import nn

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Train
from attncli.system import gpu_support

MPS_CHANNELS_LAST_NORM = (2, 14)  # the first release whose batch norm is right in it on Apple GPUs (pytorch 188371)
WORDS = ("out of memory", "busy or unavailable", "ALLOC_FAILED")  # of a GPU that others hold
NO_KERNELS = ("no kernel image", "invalid device function")  # CUDA's and ROCm's words for it


def choose_device() -> torch.device:
    """Return the device, with its number if it has one, after a first operation on it.

    Raises UserError if it is not there or if torch cannot use it, RunFailedError if others hold it.
    """
    requested = gpu_support.read_requested_device()
    device = torch.device(requested) if requested else find_accelerator()
    if device.type == "cpu":
        return device
    _check_presence(device)
    device = _with_number(device)
    try:
        torch.zeros(1, device=device).add_(1)
    except RuntimeError as error:
        raise explain_first_failure(device, error) from error
    return device


def is_torch_from(release: tuple[int, int]) -> bool:
    """Return whether the installed torch is of this release or a later one."""
    return is_release_from(str(torch.__version__), release)


def is_release_from(version: str, release: tuple[int, int]) -> bool:
    """Return whether a version such as `2.14.1+cu130` is of this release or a later one."""
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) >= release


def uses_channels_last(train: Train, device: torch.device) -> bool:
    """Return whether maps are in channels_last: if the recipe says so and batch norm is right in it on the device."""
    return train.channels_last and (device.type != "mps" or is_torch_from(MPS_CHANNELS_LAST_NORM))


def convert_to_channels_last(net: nn.Module) -> None:
    """Lay out the weights of four axes in channels_last, in place; those of five (Conv3d) cannot be, and stay."""
    for weights in (*net.parameters(), *net.buffers()):
        if weights.ndim == 4:
            weights.data = weights.data.to(memory_format=torch.channels_last)


def compile_network(net: nn.Module, train: Train) -> None:
    """Let torch.compile compile a network at its first call, in the mode of the recipe, if that says so."""
    if train.compile:
        net.compile(mode=None if train.compile is True else train.compile)


def find_accelerator() -> torch.device:
    """Return the accelerator that torch finds on this machine, else the CPU; nothing runs on it."""
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return current or torch.device("cpu")


def count_devices(device_type: str) -> int:
    """Return how many devices of a type torch can use."""
    if device_type == "cpu":
        return 1
    if device_type == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, device_type)
    return module.device_count() if module.is_available() else 0


def _check_presence(device: torch.device) -> None:
    count = count_devices(device.type)
    if count == 0:
        raise gpu_support.make_missing_device_error(str(device))
    if (device.index or 0) >= count:
        last = f"{device.type}:{count - 1}"
        raise UserError(
            f"--device {device}: there {'is 1 device' if count == 1 else f'are {count} devices'}",
            f"use {device.type}:0{'' if count == 1 else f' to {last}'}",
        )


def _with_number(device: torch.device) -> torch.device:
    """Return the device as tensors name it: `cuda:0` and not `cuda`; make it the current one."""
    if device.type not in ("cuda", "xpu"):
        return torch.device(device.type, 0) if device.type == "mps" else device
    module = getattr(torch, device.type)
    if device.index is not None:
        module.set_device(device)
    return torch.device(device.type, module.current_device())


def explain_first_failure(device: torch.device, error: RuntimeError) -> UserError:
    """Return what the first operation on a device failed of: others hold it, or torch has no kernels for it."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if any(word in first_line for word in WORDS):
        return RunFailedError(f"{device}: {first_line}", "other processes hold it: `nvidia-smi` lists them")
    if device.type == "cuda" and any(words in first_line for words in NO_KERNELS):
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        return UserError(
            f"{device}: torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(device)} "
            f"(compute capability {capability})",
            f"{'a build of torch for it' if torch.version.hip else gpu_support.OLDER_BUILD}; or --device cpu",
        )
    return UserError(f"{device}: {first_line}", "`attncli doctor` looks for the reason; --device cpu trains without it")


def list_device_notes(device: torch.device, processes: int) -> list[str]:
    """Return what a user should hear about the devices of a run, one line each."""
    notes = []
    requested = gpu_support.read_requested_device()
    if device.type == "cpu" and not requested and (obstacle := gpu_support.find_gpu_obstacle()):
        notes.append(f"{obstacle[0]}; this runs on the CPU ({obstacle[1]})")
    idle_gpus = torch.cuda.device_count() - processes if device.type == "cuda" else 0
    if idle_gpus > 0 and not requested:
        notes.append(
            f"{device} is used, {idle_gpus} other GPU{'s are' if idle_gpus > 1 else ' is'} idle: "
            f"--processes {processes + idle_gpus} trains on all, `attncli sweep` runs one job on each"
        )
    return notes + list_ignored_settings()


# Settings of `accelerate config` that another key decides, with the values that ask for nothing.
IGNORED_SETTINGS = (
    ("ACCELERATE_MIXED_PRECISION", "mixed_precision", "train.precision", {"", "no", "NO"}),
    ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "gradient_accumulation_steps", "train.accumulate", {"", "0", "1"}),
    ("ACCELERATE_DYNAMO_BACKEND", "dynamo_backend", "train.compile", {"", "no", "NO"}),
)
# Settings under which Accelerate would train another way than this project does.
REFUSED_SETTINGS = (
    ("ACCELERATE_USE_FSDP", "FSDP"),
    ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
    ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
    ("ACCELERATE_USE_PARALLELISM_CONFIG", "another kind of parallelism"),
    ("ACCELERATE_USE_SAGEMAKER", "SageMaker"),
)


def list_ignored_settings() -> list[str]:
    """Return a line for each setting of `accelerate config` that is not used, because the recipe decides it."""
    return [
        f"accelerate config's {setting}={value} is not used: {key} decides"
        for variable, setting, key, empty in IGNORED_SETTINGS
        if (value := os.environ.get(variable, "")) not in empty
    ]


def explain_refused_settings(error: ValueError) -> UserError:
    """Return the error for a variable of `accelerate config` with a value that Accelerate does not take."""
    text = str(error).lower()
    settings = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith("ACCELERATE_") and value and value.lower() in text
    ]
    return UserError(
        f"{', '.join(settings) or 'accelerate'}: {str(error).strip() or type(error).__name__}",
        "correct it, or unset the variables whose names begin with ACCELERATE_",
    )


def check_launcher_settings() -> None:
    """Raise UserError if `accelerate config` asks for a way of training that this project does not have."""
    for variable, name in REFUSED_SETTINGS:
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise UserError(
                f"accelerate config asks for {name}, with which attncli does not train",
                "answer `multi-GPU` in `accelerate config`, or start with `attncli run --processes N`",
            )
