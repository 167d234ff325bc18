"""Synchronised batch norm by CUDA's kernels, which are written out here: four processes compute what one does."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from attncli.train import sync_batch_norm

WORLD = 4


class ThreadGroup:
    """A group of `WORLD` threads with the two exchanges that batch norm needs, by rank."""

    def __init__(self, gather_name: str) -> None:
        setattr(self, gather_name, self.gather)
        self.barrier, self.local, self.sent = threading.Barrier(WORLD, timeout=20), threading.local(), {}

    def get_world_size(self) -> int:
        """The number of threads."""
        return WORLD

    def collect(self, value: Tensor) -> list[Tensor]:
        """What every thread sends, by rank."""
        self.barrier.wait()
        self.sent[self.local.rank] = value.clone()
        self.barrier.wait()
        return [self.sent[rank] for rank in range(WORLD)]

    def gather(self, output: Tensor, value: Tensor) -> None:
        """Put all threads' values one after the other into `output`."""
        output.copy_(torch.cat(self.collect(value)))

    def all_reduce(self, value: Tensor) -> None:
        """Replace the value by the sum over the threads."""
        value.copy_(torch.stack(self.collect(value)).sum(0))

    def run(self, work: Callable[[int], object]) -> list[object]:
        """What `work(rank)` returns in each thread."""
        results: dict[int, object] = {}

        def start(rank: int) -> None:
            self.local.rank = rank
            results[rank] = work(rank)

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(WORLD)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [results[rank] for rank in range(WORLD)]


def channel_rows(x: Tensor) -> Tensor:
    """x, (N, C, ...), as (C, values)."""
    return x.transpose(0, 1).flatten(1).float()


def over_channels(t: Tensor, x: Tensor) -> Tensor:
    """t, (C,), shaped to broadcast over x, (N, C, ...)."""
    return t.view(1, -1, *[1] * (x.ndim - 2))


def batch_norm_stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(var + eps) of a part."""
    rows = channel_rows(x)
    return rows.mean(1), (rows.var(1, unbiased=False) + eps).rsqrt()


def gather_stats(  # noqa: D103
    x: Tensor, mean: Tensor, invstd: Tensor, running_mean, running_var, momentum: float, eps: float, counts: Tensor
) -> tuple[Tensor, Tensor]:
    assert counts.dtype == (x if running_mean is None else running_mean).dtype
    n, total = counts[:, None], counts.sum()
    whole = (n * mean).sum(0) / total
    var = (n * (invstd**-2 - eps + (mean - whole) ** 2)).sum(0) / total
    if running_mean is not None:
        running_mean.lerp_(whole, momentum)
        running_var.lerp_(var * total / (total - 1), momentum)
    return whole, (var + eps).rsqrt()


def elemt(x: Tensor, weight, bias, mean: Tensor, invstd: Tensor, eps: float) -> Tensor:  # noqa: D103
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    y = (x - over_channels(mean, x)) * over_channels(invstd * weight, x) + over_channels(bias, x)
    return y.to(x.dtype)


def backward_reduce(dy: Tensor, x: Tensor, mean: Tensor, invstd: Tensor, weight, *wanted: bool):  # noqa: D103
    centred = channel_rows(x) - mean[:, None]
    sum_dy, sum_dy_xmu = channel_rows(dy).sum(1), (channel_rows(dy) * centred).sum(1)
    return sum_dy, sum_dy_xmu, sum_dy_xmu * invstd if wanted[1] else None, sum_dy if wanted[2] else None


def backward_elemt(dy, x, mean, invstd, weight, sum_dy, sum_dy_xmu, count):  # noqa: D103
    assert count.dtype == torch.int32
    total, weight = count.sum(), torch.ones_like(mean) if weight is None else weight
    slope = over_channels(invstd**2 * sum_dy_xmu / total, x) * (x - over_channels(mean, x))
    return ((dy - over_channels(sum_dy / total, x) - slope) * over_channels(invstd * weight, x)).to(x.dtype)


KERNELS = {
    "batch_norm_stats": batch_norm_stats,
    "batch_norm_gather_stats_with_counts": gather_stats,
    "batch_norm_elemt": elemt,
    "batch_norm_backward_reduce": backward_reduce,
    "batch_norm_backward_elemt": backward_elemt,
}
OPTIONS = [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.BatchNorm1d, (12, 5)), (nn.BatchNorm1d, (12, 5, 7)), (nn.BatchNorm2d, (12, 5, 4, 3))]
)
@pytest.mark.parametrize("gather_name", ["all_gather_single", "all_gather_into_tensor"])
def test_four_parts_equal_the_whole_batch(
    kind: type[nn.Module],
    shape: tuple[int, ...],
    options: dict[str, object],
    gather_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs, gradients and running statistics of four parts are those of `nn.BatchNorm` on the whole batch."""
    group = ThreadGroup(gather_name)
    monkeypatch.setattr(sync_batch_norm, "dist", group)
    monkeypatch.setattr(sync_batch_norm, "has_sync_kernels", lambda x: True)
    for name, kernel in KERNELS.items():
        monkeypatch.setattr(torch, name, kernel, raising=False)
    g = torch.Generator().manual_seed(0)
    x, dy = torch.randn(shape, generator=g) * 2 + 3, torch.randn(shape, generator=g)

    def run_norm(mine: Tensor, upstream: Tensor) -> SimpleNamespace:
        norm, mine = kind(shape[1], **options), mine.clone().requires_grad_()
        y = norm(mine)
        (y * upstream).sum().backward()
        return SimpleNamespace(y=y.detach(), dx=mine.grad, norm=norm)

    one = run_norm(x, dy)
    with sync_batch_norm.synced_batch_norm(WORLD):
        parts = group.run(lambda rank: run_norm(x.chunk(WORLD)[rank], dy.chunk(WORLD)[rank]))
    torch.testing.assert_close(torch.cat([part.y for part in parts]), one.y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.cat([part.dx for part in parts]), one.dx, rtol=1e-4, atol=1e-5)
    for name, parameter in one.norm.named_parameters():
        total = sum(part.norm.get_parameter(name).grad for part in parts)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-4, atol=1e-4)
    for part in parts:
        for name, buffer in one.norm.named_buffers():
            torch.testing.assert_close(part.norm.get_buffer(name), buffer, rtol=1e-4, atol=1e-5)


def test_only_batch_norm_is_replaced_and_only_within_the_context() -> None:
    """Within the context F.batch_norm is ours, and after an error the old one is back; no other call is caught."""
    plain, seen = nn.functional.batch_norm, []

    def fail() -> None:
        seen.append((nn.functional.batch_norm, torch._C._len_torch_function_stack()))
        raise RuntimeError("a step that fails")

    with sync_batch_norm.synced_batch_norm(1):
        assert nn.functional.batch_norm is plain
    with pytest.raises(RuntimeError, match="a step that fails"), sync_batch_norm.synced_batch_norm(2):
        fail()
    assert seen == [(sync_batch_norm.batch_norm, 0)]
    assert nn.functional.batch_norm is plain


def test_evaluation_needs_no_other_process() -> None:
    """In evaluation the statistics are those of the network: nothing is exchanged, and nothing calls itself."""
    norm, x = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    with sync_batch_norm.synced_batch_norm(2):
        y = norm(x)
    torch.testing.assert_close(y, norm(x))
