"""The memory that the forward pass keeps for the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from attncli.measure.attend import WholeAttention
from attncli.measure.imagine import Network, image_shape, observe, storage

BATCH = 2  # the smallest that batch normalisation trains on


def activation_bytes(model: nn.Module, size: tuple[int, int], frames: int | None = None) -> int:
    """Bytes kept for the backward pass of one image (H, W), or one clip, in float32 and training mode.

    Every tensor that autograd saves counts with its whole memory, once however often it is saved; parameters
    and buffers do not count, images do. Attention keeps what it takes, what it gives and one number for each query,
    as a fused kernel does. It is a batch's memory divided by the batch.
    """

    def look(network: Network, images: Tensor, held: set[int]) -> int:
        kept: dict[int, Tensor] = {}

        def keep(t: Tensor) -> Tensor:
            if storage(t) not in held:
                kept.setdefault(storage(t), t.detach())  # kept alive, so that no other memory takes its name
            return t.detach()

        def attend(run: Callable[[], Tensor], inputs: list[Tensor]) -> Tensor:
            with saved_tensors_hooks(lambda t: t, lambda t: t):
                out = run()
            if out.requires_grad:
                for t in (*inputs, out, out.new_empty(out.shape[:-1])):
                    keep(t)
            return out

        with torch.enable_grad(), WholeAttention(attend), saved_tensors_hooks(keep, lambda t: t):
            network(images)
        return sum(t.untyped_storage().nbytes() for t in kept.values())

    return observe(model, image_shape(BATCH, size, frames), look, training=True) // BATCH
