"""Time convolutions of small maps by matrix products against torch's own, to find the rules of this CPU.

    OMP_NUM_THREADS=1 python -m tests.train.small_map_speeds             # fp32, and bf16 if the CPU has it
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m tests.train.small_map_speeds

One line per width and size of the maps: milliseconds of torch's forward and backward pass of a 3 x 3 convolution, then
the time of the matrix products over it, medians of passes in turn. A rule of `attncli.train.small_map_convolution`
takes the products if that is below 1.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.train.malloc import tune_malloc
from attncli.train.precision import has_native_bf16
from attncli.train.small_map_convolution import ProductRule, convolve_small_maps

ALWAYS: ProductRule = ((0, 1 << 30),)
WIDTHS = (
    (16, 16), (32, 32), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)
)  # fmt: skip
SIZES = (1, 2, 3, 4, 5, 7, 8)
IMAGES = 64
SECONDS = 0.4  # about, per line and way


def main() -> None:
    """Print the table."""
    tune_malloc()
    formats = [torch.float32] + ([torch.bfloat16] if has_native_bf16(torch.device("cpu")) else [])
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, batch {IMAGES}")
    for dtype in formats:
        for inputs, outputs in WIDTHS:
            for size in SIZES:
                torch_ms, ratio = compare_ways(inputs, outputs, size, dtype)
                line = f"{str(dtype).removeprefix('torch.'):9} {inputs:4} -> {outputs:3} channels  {size} px"
                print(f"{line}  {torch_ms:9.3f} ms  x {ratio:.2f}", flush=True)


def compare_ways(inputs: int, outputs: int, size: int, dtype: torch.dtype) -> tuple[float, float]:
    """Return the milliseconds of torch's passes, and the time of the matrix products over it."""
    weight = torch.randn(outputs, inputs, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    x = torch.randn(IMAGES, inputs, size, size).to(dtype, memory_format=torch.channels_last).requires_grad_()
    ways: list[Callable[[], Tensor]] = [
        lambda: F.conv2d(x, weight, None, (1, 1), (1, 1)),
        lambda: convolve_small_maps(x, weight, None, (1, 1), (1, 1), ALWAYS),
    ]
    seconds = [[time_pass(way, (x, weight), dtype) for way in ways] for _ in range(2)][-1]
    repeats = max(5, min(50, int(SECONDS / seconds[0])))
    times = [[time_pass(way, (x, weight), dtype) for way in ways] for _ in range(repeats)]
    torch_seconds, product_seconds = (statistics.median(column) for column in zip(*times, strict=True))
    return 1000 * torch_seconds, product_seconds / torch_seconds


def time_pass(way: Callable[[], Tensor], inputs: tuple[Tensor, ...], dtype: torch.dtype) -> float:
    """Return the seconds of a forward and a backward pass."""
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = way()
    torch.autograd.grad(y, inputs, torch.ones_like(y))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
