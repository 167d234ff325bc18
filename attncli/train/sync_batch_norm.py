"""Batch norms over the whole batch of a training in several processes, so that they compute what one process would.

The statistics of Ioffe and Szegedy (2015, algorithm 1) are gathered from all processes, as in torch's SyncBatchNorm,
which works only on GPUs and replaces the modules. Here the modules stay as they are: within the context of
`synced_batch_norm`, the function that they all call, `torch.nn.functional.batch_norm`, is the one of this file. No
other call of torch is touched. On CUDA it runs the kernels that torch has for this; on other devices, whose batch norm
lacks them, the same sums are made of what is there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_batch_norm_of_one_process = F.batch_norm


@contextmanager
def synced_batch_norm(processes: int) -> Iterator[None]:
    """Let batch norms in training see the batches of all processes within the context; for one it does nothing.

    It holds for all threads, and for whoever calls `F.batch_norm`, also in a network of the user or of timm.
    """
    if processes == 1:
        yield
        return
    previous, F.batch_norm = F.batch_norm, batch_norm
    try:
        yield
    finally:
        F.batch_norm = previous


def batch_norm(
    input: Tensor,  # noqa: A002 - torch's name, as others call it by that
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return `torch.nn.functional.batch_norm` of this process's part `input` of a batch, (n, C, ...).

    In training mean and variance are those of all processes' parts together, in float32 (float64 for float64 maps),
    and the running statistics move towards them (the variance unbiased) alike in all processes. All processes
    must call it alike. Raises ValueError if the whole batch has a single value per channel.
    """
    x = input
    if not training or x.numel() // x.shape[1] * dist.get_world_size() == 1:
        return _batch_norm_of_one_process(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if has_sync_kernels(x):
        normed: Tensor = _CudaBatchNormFunction.apply(x, weight, bias, running_mean, running_var, momentum, eps)
        return normed
    ones = torch.ones(x.shape[1], device=x.device, dtype=_statistics_dtype(x))
    weight, bias = ones if weight is None else weight, torch.zeros_like(ones) if bias is None else bias
    y, mean, var = _SyncedBatchNormFunction.apply(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_(var.to(running_var.dtype), momentum)
    return cast(Tensor, y)


def has_sync_kernels(x: Tensor) -> bool:
    """Return whether torch has kernels for the synchronised batch norm of x: CUDA's, which take no float64 maps."""
    return x.is_cuda and x.dtype != torch.float64


def _statistics_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which the statistics of maps x are computed: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def gather_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), biased variance (C,) and number of values () of the parts (n, C, ...) of all processes.

    The parts' moments are combined (Chan et al. 1979), so that a large mean does not swamp a small variance.
    """
    channels, dtype = x.shape[1], _statistics_dtype(x)
    rows = torch.zeros(dist.get_world_size(), 2 * channels + 1, device=x.device, dtype=dtype)
    unused = rows.new_zeros(channels)  # given half precision alone, the kernel on CPUs rounds what it returns
    mean, var = torch.batch_norm_update_stats(x.detach(), unused, unused.clone(), 0.0)
    count = mean.new_full((1,), x.numel() // channels)
    rows[dist.get_rank()] = torch.cat([mean, var, count])
    dist.all_reduce(rows)  # one row from each process, zeros from the others: the same bits in all processes
    means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    return mean, (counts * (variances + (means - mean).square())).sum(0) / total, total


class _SyncedBatchNormFunction(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, and the mean and unbiased variance it was made with."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, the mean and the unbiased variance of all processes' parts."""
        mean, var, total = gather_statistics(x)
        y = torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]
        unbiased = var * (total / (total - 1))
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        """Return dx of the whole batch's loss; the gradients of weight and bias are this part's, which DDP averages.

        With z = (x - mean) / sqrt(var + eps), and N values per channel in all processes, over which the sums are:

            dx = weight / sqrt(var + eps) * (dy - z * sum(dy z) / N - sum(dy) / N)

        The last two terms are what x takes part in through mean and variance. dweight and dbias are sum(dy z) and
        sum(dy) over this part.
        """
        x, weight, mean, var, total = ctx.saved_tensors
        needs_dx = ctx.needs_input_grad[0]
        # as in evaluation, where mean and variance are constants: so dx is the first term alone
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, None, None, False, ctx.eps, [needs_dx, True, True]
        )
        if not needs_dx:
            return None, dweight, dbias, None
        sums = torch.stack([dweight, dbias]).to(mean.dtype)
        dist.all_reduce(sums)
        slope, shift = sums * (weight * (var + ctx.eps).rsqrt() / total)
        last_terms = torch.native_batch_norm(x, slope, shift, mean, var, False, 0.0, ctx.eps)[0]  # slope * z + shift
        return dx.sub_(last_terms), dweight, dbias, None


class _CudaBatchNormFunction(torch.autograd.Function):
    """The same by CUDA's kernels: five of them and two exchanges of C numbers, forward and backward together."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
    ) -> Tensor:
        """Return the normed maps, and move the running statistics."""
        x = x if _is_dense(x) else x.contiguous()
        mean, invstd = torch.batch_norm_stats(x, eps)
        count = mean.new_full((1,), x.numel() // x.shape[1])
        own_row = torch.cat([mean, invstd, count])
        rows = own_row.new_empty(dist.get_world_size(), own_row.numel())
        gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.14
        gather(rows.view(-1), own_row)
        means, invstds, counts = rows.split([len(mean), len(mean), 1], dim=1)
        # the first argument only tells the type of the counts if there are no running statistics
        mean, invstd = torch.batch_norm_gather_stats_with_counts(
            mean, means.contiguous(), invstds.contiguous(), running_mean, running_var, momentum, eps, counts.reshape(-1)
        )
        ctx.save_for_backward(x, weight, mean, invstd, counts.reshape(-1).to(torch.int32))
        return torch.batch_norm_elemt(x, weight, bias, mean, invstd, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return dx of the whole batch's loss; the gradients of weight and bias are this part's, which DDP averages."""
        x, weight, mean, invstd, counts = ctx.saved_tensors
        dy = _lay_out_like(dy, x)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        sum_dy, sum_dy_xmu, dw, db = torch.batch_norm_backward_reduce(
            dy, x, mean, invstd, weight, needs_x, needs_weight, needs_bias
        )
        dx = None
        if needs_x:
            sums = torch.stack([sum_dy, sum_dy_xmu])
            dist.all_reduce(sums)
            dx = torch.batch_norm_backward_elemt(dy, x, mean, invstd, weight, sums[0], sums[1], counts)
        return dx, dw, db, None, None, None, None


def _is_dense(x: Tensor) -> bool:
    """Return whether x is contiguous or channels_last; the kernels take no other layout."""
    return x.is_contiguous() or any(
        x.ndim == dims and x.is_contiguous(memory_format=layout)
        for dims, layout in ((4, torch.channels_last), (5, torch.channels_last_3d))
    )


def _lay_out_like(dy: Tensor, x: Tensor) -> Tensor:
    """Return dy in the memory layout of x."""
    return dy if dy.stride() == x.stride() else torch.empty_like(x, dtype=dy.dtype).copy_(dy)
