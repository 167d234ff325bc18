"""Attention between all pairs of positions of a map, and the 1x1 convolutions before and after it.

Two facts of torch's CPU kernels shape them. A linear layer in float32 goes to MKL, a convolution to oneDNN; on AMD
processors the convolution is twice as fast (214 and 106 GFLOP/s on a core of Zen 5), in bf16 they are equal. And
the fused kernel takes up to twice as long as the two plain products in bf16, but keeps no map of all pairs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KEPT_BYTES = 1 << 28  # largest map of all pairs that is kept on a CPU


def apply_pointwise(x: Tensor, layer: nn.Linear) -> Tensor:
    """Apply the layer at each position: (N, C, H, W) -> (N, C', H, W)."""
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def flatten_tokens(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N, HW, C), a view."""
    return x.flatten(2).transpose(1, 2)


def unflatten_tokens(t: Tensor, size: torch.Size) -> Tensor:
    """Return (N, HW, C) as (N, C, H, W), a view; `size` ends in H, W."""
    return t.transpose(1, 2).unflatten(2, size[-2:])


def attend_pairwise(q: Tensor, k: Tensor, v: Tensor, scale: float = 1.0) -> Tensor:
    """Return softmax(scale * q k^T) v for (N, positions, width); q and k have equal widths, v may have another."""
    pairs = q.shape[0] * q.shape[1] * k.shape[1] * q.element_size()
    if q.device.type != "cpu":
        return _attend_fused(q, k, v, scale)
    if pairs > KEPT_BYTES:
        return _attend_fused(*_pad_to_equal_width(q, k, v), scale)[:, :, : v.shape[2]]
    return torch.bmm(torch.bmm(q if scale == 1 else q * scale, k.transpose(1, 2)).softmax(2).to(v.dtype), v)


def _attend_fused(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    y: Tensor = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=scale)
    return y.squeeze(1)


def _pad_to_equal_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pad with zeros to the width of the widest: the CPU's kernel accepts no other."""
    width = max(q.shape[2], v.shape[2])
    q, k, v = (F.pad(t, (0, width - t.shape[2])) if t.shape[2] < width else t for t in (q, k, v))
    return q, k, v
