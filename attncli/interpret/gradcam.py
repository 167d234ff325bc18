"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): which places of the last map support a class.

    a_k = mean over places of d score / d A_k        L = relu(sum_k a_k A_k)

The map is the last one with more than one place whose gradient is not zero, so this works for any network.
Tokens (N, L, d) count as a map if they tile the image. What attention makes of them, (N, heads, L, d) and
(N, heads, L, L), has the axes of a map and is none.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attncli.interpret.token_grid import MAX_LOG_DISTANCE, find_token_grid
from attncli.train.random_state import kept_random_state

PASSED_BY_HEADS = (nn.Identity, nn.Dropout, nn.LayerNorm, nn.Softmax)  # a map is the output of others before them


def compute_gradcam(net: nn.Module, x: Tensor, classes: Tensor) -> Tensor | None:
    """Return L for each image of a batch x and its class, (N, h, w), with maximum 1; None if there is no map.

    Clips (N, T, 3, H, W) return the map of their middle frame.
    """
    maps: list[Tensor] = []

    def keep_map(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor) or (isinstance(module, PASSED_BY_HEADS) and _has_token_rows(output, maps)):
            return
        if output.requires_grad and _is_map(output, x):
            maps.append(output)

    handles = [m.register_forward_hook(keep_map) for m in net.modules() if m is not net]
    try:
        with torch.enable_grad(), kept_random_state(x.device):
            score = net(x).gather(1, classes[:, None]).sum()
            grads = torch.autograd.grad(score, maps, allow_unused=True) if maps else ()
    finally:
        for handle in handles:
            handle.remove()
    for a, g in reversed(list(zip(maps, grads, strict=True))):
        if g is not None and bool(_nonzero_places(g, x).any()):
            return _normalize_cam(
                (_as_map(g, x).mean((2, 3), keepdim=True) * _as_map(a, x)).sum(1).relu().detach(), len(x)
            )
    return None


def _is_map(t: Tensor, x: Tensor) -> bool:
    """Return whether t is a map no larger than the image and of its shape, or tokens that tile it."""
    if t.ndim == 4:
        (h, w), (height, width) = t.shape[2:], x.shape[-2:]
        return h * w > 1 and h <= height and w <= width and abs(math.log(h * width / (w * height))) < MAX_LOG_DISTANCE
    return t.ndim == 3 and len(t) == len(x) and find_token_grid(t.shape[1], (x.shape[-2], x.shape[-1])) is not None


def _has_token_rows(t: Tensor, maps: Sequence[Tensor]) -> bool:
    """Return whether the rows of t, of four axes, are the tokens of an earlier output."""
    return t.ndim == 4 and any(m.ndim == 3 and m.shape[1] == t.shape[2] for m in maps)


def _as_map(t: Tensor, x: Tensor) -> Tensor:
    """Return a map or tokens as (N, C, h, w)."""
    if t.ndim == 4:
        return t
    h, w = find_token_grid(t.shape[1], (x.shape[-2], x.shape[-1])) or (1, t.shape[1])
    return t[:, t.shape[1] - h * w :].transpose(1, 2).unflatten(2, (h, w))


def _nonzero_places(g: Tensor, x: Tensor) -> Tensor:
    return _as_map(g, x) != 0


def _normalize_cam(cam: Tensor, images: int) -> Tensor:
    frames = max(1, math.floor(len(cam) / images))
    cam = cam[frames // 2 :: frames]
    return cam / cam.amax((1, 2), keepdim=True).clamp_min(1e-12)
