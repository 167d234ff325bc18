"""Write tensors into a safetensors file one by one, without a second copy of all of them, with a checksum.

The format: the header's length (8 bytes, little-endian), the header (JSON: name -> dtype, shape, place of the bytes),
the bytes. Larger elements go first, so that every tensor is aligned. https://github.com/huggingface/safetensors
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.complex64: "C64",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Write the file and flush it to disk. Return the CRC-32 of its bytes.

    Tensors may be on any device and in any memory layout. Raises OSError, and KeyError for an element type that
    the format has no name for.
    """
    crc = 0
    with path.open("wb") as file:
        for chunk in _iterate_chunks(tensors):
            crc = zlib.crc32(chunk, crc)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return crc


def count_tensor_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the size in bytes of all tensors together."""
    return sum(t.nbytes for t in tensors.values())


def _iterate_chunks(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, end = {}, 0
    for name in names:
        t, begin = tensors[name], end
        end += t.nbytes
        header[name] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [begin, end]}
    header_bytes = json.dumps(header).encode()
    header_bytes += b" " * (-len(header_bytes) % 8)
    yield memoryview(len(header_bytes).to_bytes(8, "little"))
    yield memoryview(header_bytes)
    for name in names:
        if tensors[name].numel():
            yield _view_bytes(tensors[name])


def _view_bytes(t: Tensor) -> memoryview:
    """Return the elements in index order; they are copied only if main memory does not hold them so."""
    return t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
