"""Batch norms of every kind, over the parts of a batch and over all of it."""

from itertools import product

import torch
import torch.distributed as dist
from torch import Tensor, nn

from attncli.train.sync_batch_norm import synced_batch_norm

SHAPES = {nn.BatchNorm1d: [(8, 5), (8, 5, 7)], nn.BatchNorm2d: [(8, 5, 4, 3)], nn.BatchNorm3d: [(8, 5, 2, 4, 3)]}
OPTIONS = ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False})


def errors(dtype: torch.dtype) -> dict[str, float]:
    """By kind and shape, by how much the outputs, gradients and statistics of the parts are off, of the largest."""
    rank, world, found = dist.get_rank(), dist.get_world_size(), {}
    for kind, options in product(SHAPES, OPTIONS):
        for shape in SHAPES[kind]:
            torch.manual_seed(0)
            parts, whole = kind(5, **options), kind(5, **options)
            x, g = (torch.randn(shape) * 2 + 30).to(dtype), torch.randn(shape)
            x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
            with synced_batch_norm(world):
                one = _through(parts, x.chunk(world)[rank], g.chunk(world)[rank])
            two = _through(whole, x.float(), g)
            for p in parts.parameters():
                dist.all_reduce(p.grad)
            pairs = [*zip(one, (t.chunk(world)[rank] for t in two), strict=True)]
            pairs += [(p.grad, q.grad) for p, q in zip(parts.parameters(), whole.parameters(), strict=True)]
            pairs += [*zip(parts.buffers(), whole.buffers(), strict=True)]
            found[f"{kind.__name__} {shape} {options}"] = max(_off(a, b) for a, b in pairs)
    return found


def _through(norm: nn.Module, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """y, and dL/dx of L = sum of y g."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (y * g).sum().backward()
    return y, x.grad


def _off(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())
