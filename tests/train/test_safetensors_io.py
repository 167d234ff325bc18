"""Files of tensors: what the library reads back, and what the checksum is of."""

import json
import zlib

import pytest
import torch
from safetensors.torch import load_file

from attncli.train import safetensors_io

NAMED = {
    "weights": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
    "count": torch.tensor(7),
    "half": torch.randn(3, 3).bfloat16().t(),
    "flags": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 3),
    "part": torch.arange(20, dtype=torch.float64).view(4, 5)[:, 1:3],
    "rotary": torch.polar(torch.ones(2, 3), torch.randn(2, 3)),
    "wide": torch.tensor([60_000], dtype=torch.uint16),
    "grad": torch.nn.Parameter(torch.randn(2)),
}


def test_the_library_reads_the_same(tmp_path):
    """Every element type, layout, view and shape comes back as it was."""
    file = tmp_path / "t.safetensors"
    safetensors_io.write_tensors(file, NAMED)
    read = load_file(file)
    assert read.keys() == NAMED.keys()
    for name, t in NAMED.items():
        assert read[name].dtype is t.dtype
        assert torch.equal(read[name], t)


def test_the_checksum_is_that_of_the_file(tmp_path):
    """CRC-32 over every byte, header included."""
    file = tmp_path / "t.safetensors"
    assert safetensors_io.write_tensors(file, NAMED) == zlib.crc32(file.read_bytes())


def test_every_tensor_is_aligned(tmp_path):
    """Elements begin at multiples of their size, so that the file can be mapped into memory."""
    file = tmp_path / "t.safetensors"
    safetensors_io.write_tensors(file, NAMED)
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    assert start % 8 == 0
    header = json.loads(whole[8:start])
    assert all(h["data_offsets"][0] % NAMED[name].element_size() == 0 for name, h in header.items())
    assert len(whole) - start == safetensors_io.count_tensor_bytes(NAMED)


def test_an_unnamed_element_type(tmp_path):
    """Complex numbers of 128 bits have no name in the format: a KeyError, not a wrong file."""
    with pytest.raises(KeyError):
        safetensors_io.write_tensors(tmp_path / "t.safetensors", {"z": torch.zeros(2, dtype=torch.complex128)})
