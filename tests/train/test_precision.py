"""The number format: what auto takes, what is refused, what is computed."""

import pytest
import torch

from attncli.errors import UserError
from attncli.train import autocast_context, precision, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("features", "used", "expected"),
    [
        ({"avx2", "avx512_f"}, True, "fp32"),
        ({"avx2", "avx512_bf16"}, True, "bf16"),
        ({"amx_bf16", "amx_tile"}, True, "bf16"),
        ({"neon", "bf16"}, True, "bf16"),
        (set(), True, "fp32"),
        ({"avx2", "avx512_bf16"}, False, "fp32"),
    ],
)
def test_auto_on_a_cpu(monkeypatch, features, used, expected):
    """Auto is bf16 exactly if the processor names an instruction for it and oneDNN uses it."""
    monkeypatch.setattr(precision, "_read_cpu_features", lambda: features)
    monkeypatch.setattr(precision, "_onednn_takes_bf16", lambda: used)
    monkeypatch.setattr(precision.sys, "platform", "linux")
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("precision_name", "capability", "vendor", "features", "expected"),
    [
        ("fp32", "AVX2", "AuthenticAMD", {"avx2"}, "avx2 fp32"),
        ("fp32", "AVX512", "GenuineIntel", {"avx512_f"}, "avx512 fp32"),
        ("fp32", "AVX512", "AuthenticAMD", {"avx512_f"}, "amd avx512 fp32"),
        ("bf16", "AVX512", "AuthenticAMD", {"avx512_bf16"}, "avx512 bf16"),
        ("bf16", "AVX512", "GenuineIntel", {"avx512_bf16", "amx_bf16"}, "amx bf16"),
        ("bf16", "AVX2", "AuthenticAMD", {"avx2"}, None),
    ],
)
def test_kernels_of_a_cpu(monkeypatch, precision_name, capability, vendor, features, expected):
    """Convolutions of small maps follow the rule that was measured on such a processor."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(precision, "_read_cpu_features", lambda: features)
    monkeypatch.setattr(precision, "_onednn_takes_bf16", lambda: True)
    monkeypatch.setattr(precision.sys, "platform", "linux")
    monkeypatch.setattr(precision.hardware, "read_cpuinfo_lines", lambda: [f"vendor_id\t: {vendor}"])
    precision.hardware.is_amd_processor.cache_clear()
    try:
        assert precision.choose_cpu_kernels(precision_name) == expected
    finally:
        precision.hardware.is_amd_processor.cache_clear()


def test_auto_on_cuda_asks_for_hardware(monkeypatch):
    """On CUDA emulated bf16 does not count."""
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation))
    assert resolve_precision("auto", torch.device("cuda")) == "fp16"
    assert asked == [False]


def test_auto_on_an_apple_gpu():
    """There it is fp32, as on a CPU without bf16."""
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("capability", "is_allowed"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_wants_ampere(monkeypatch, capability, is_allowed):
    """Older cards would compute in fp32 without a word, as a CPU would: they are refused."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    if is_allowed:
        assert resolve_precision("tf32", torch.device("cuda", 0)) == "tf32"
    else:
        with pytest.raises(UserError, match=r"8\.0"):
            resolve_precision("tf32", torch.device("cuda", 0))
    with pytest.raises(UserError, match="'cpu'"):
        resolve_precision("tf32", CPU)


def test_amd_gpus_have_no_tf32(monkeypatch):
    """ROCm's compute capabilities look like those of newer NVIDIA GPUs, and its products are not rounded."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 4))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(UserError, match="of ROCm"):
        resolve_precision("tf32", torch.device("cuda", 0))


@pytest.mark.parametrize(("version", "is_allowed"), [("2.11.0", False), ("2.12.1+cpu", True), ("3.0.0a1", True)])
def test_bf16_on_an_apple_gpu_wants_a_torch_that_can(monkeypatch, version, is_allowed):
    """Batch norm of an older torch would end the process."""
    monkeypatch.setattr(torch, "__version__", version)
    if is_allowed:
        assert resolve_precision("bf16", torch.device("mps")) == "bf16"
    else:
        with pytest.raises(UserError, match=r"needs torch 2\.12"):
            resolve_precision("bf16", torch.device("mps"))


def test_features_of_this_processor_are_words():
    """What this processor can do is told by torch or the kernel as plain names."""
    found = precision._read_cpu_features()
    assert all(name and name == name.strip() for name in found)


def test_features_without_torchs_word_for_it(monkeypatch):
    """An older torch does not tell; the kernel's list knows at least as much about bf16."""
    told = precision._read_cpu_features() & {"avx512_bf16", "amx_bf16"}
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert told <= precision._read_cpu_features.__wrapped__()


def test_fp16_on_a_cpu_is_refused():
    """A CPU would compute fp16 as fp32 without a word: an error that names the key and the way out."""
    with pytest.raises(UserError, match=r"train\.precision") as caught:
        resolve_precision("fp16", CPU)
    assert "bf16" in caught.value.hint
    assert resolve_precision("fp16", torch.device("cuda")) == "fp16"


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_what_is_asked_for_is_kept(name):
    """An explicit format is never swapped for another."""
    assert resolve_precision(name, CPU) == name


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_it(name, dtype):
    """A matrix product under the context has the format's type."""
    with autocast_context(name, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
