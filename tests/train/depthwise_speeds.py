"""Time gradients of depth-wise convolutions against torch's own, to find the rules of this CPU.

    OMP_NUM_THREADS=1 python -m tests.train.depthwise_speeds             # fp32, and bf16 if the CPU has it
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m tests.train.depthwise_speeds

One line per convolution: milliseconds of torch's gradient of the input, and the time of the other way over it; then the
same of the weight, with 8 and with 16 channels per group; medians of passes in turn. A rule of
`attncli.train.depthwise_convolution` takes the other way if that is below 1.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from attncli.train.depthwise_convolution import compute_input_gradient, compute_weight_gradient
from attncli.train.malloc import tune_malloc
from attncli.train.precision import has_native_bf16

CONVOLUTIONS = (  # images, channels, side of the map, kernel, stride
    (128, 16, 32, (3, 3), 1), (128, 16, 32, (1, 7), 1), (128, 16, 32, (7, 1), 1), (128, 16, 32, (5, 5), 1),
    (128, 32, 16, (5, 5), 1), (128, 64, 8, (5, 5), 1), (16, 32, 112, (3, 3), 1), (16, 96, 112, (3, 3), 2),
    (16, 144, 56, (3, 3), 1), (16, 144, 56, (3, 3), 2), (16, 192, 28, (3, 3), 2), (16, 576, 14, (3, 3), 1),
    (16, 72, 56, (5, 5), 2), (16, 240, 28, (5, 5), 1), (16, 672, 14, (5, 5), 2), (16, 960, 7, (5, 5), 1),
    (16, 96, 56, (7, 7), 1), (16, 384, 14, (7, 7), 1), (16, 768, 7, (7, 7), 1), (16, 128, 28, (1, 11), 1),
    (16, 128, 28, (11, 1), 1), (128, 32, 16, (21, 1), 1), (128, 64, 8, (11, 1), 1), (128, 64, 8, (7, 1), 1),
)  # fmt: skip
SECONDS = 0.4  # about, per line and way


def main() -> None:
    """Print the table."""
    tune_malloc()
    formats = [torch.float32] + ([torch.bfloat16] if has_native_bf16(torch.device("cpu")) else [])
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    for dtype in formats:
        for images, channels, side, kernel, stride in CONVOLUTIONS:
            input_ms, (input_ratio,) = compare_input_gradients(images, channels, side, kernel, stride, dtype)
            weight_ms, ratios = compare_weight_gradients(images, channels, side, kernel, stride, dtype)
            print(
                f"{str(dtype).removeprefix('torch.'):9} {images:3} x {channels:3} channels {side:3} px "
                f"{kernel[0]} x {kernel[1]:2} stride {stride}  input {input_ms:7.2f} ms x {input_ratio:.2f}  "
                f"weight {weight_ms:7.2f} ms x {ratios[0]:.2f}, {ratios[1]:.2f}",
                flush=True,
            )


def compare_input_gradients(*case: Any) -> tuple[float, list[float]]:
    """Return the milliseconds of torch's gradient of the input, and the time of the other way over it."""
    dy, x, weight, stride, padding = _make_tensors(*case)
    return _compare([
        lambda: _differentiate(dy, x, weight, stride, padding, [True, False, False]),
        lambda: compute_input_gradient(dy, weight, x.shape, stride, padding),
    ])  # fmt: skip


def compare_weight_gradients(*case: Any) -> tuple[float, list[float]]:
    """Return the milliseconds of torch's gradient of the weight, and those of 8 and 16 channels per group over it."""
    dy, x, weight, stride, padding = _make_tensors(*case)
    return _compare([
        lambda: _differentiate(dy, x, weight, stride, padding, [False, True, False]),
        lambda: compute_weight_gradient(dy, x, weight, stride, padding, 8),
        lambda: compute_weight_gradient(dy, x, weight, stride, padding, 16 if len(weight) % 16 == 0 else 8),
    ])  # fmt: skip


def _make_tensors(
    images: int, channels: int, side: int, kernel: tuple[int, int], stride: int, dtype: torch.dtype
) -> tuple[Any, ...]:
    padding = (kernel[0] // 2, kernel[1] // 2)
    x = torch.randn(images, channels, side, side).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(channels, 1, *kernel).to(dtype)
    dy = torch.randn_like(F.conv2d(x, weight, None, stride, padding, 1, channels))
    return dy, x, weight, (stride, stride), padding


def _differentiate(dy: Any, x: Any, weight: Any, stride: Any, padding: Any, mask: list[bool]) -> Any:
    return torch.ops.aten.convolution_backward(
        dy, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), mask
    )


def _compare(ways: Sequence[Callable[[], Any]]) -> tuple[float, list[float]]:
    """Return the milliseconds of the first way, and the times of the others over it."""
    seconds = [[_time(way) for way in ways] for _ in range(2)][-1]
    repeats = max(5, min(50, int(SECONDS / seconds[0])))
    times = [[_time(way) for way in ways] for _ in range(repeats)]
    first, *others = (statistics.median(column) for column in zip(*times, strict=True))
    return 1000 * first, [other / first for other in others]


def _time(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
