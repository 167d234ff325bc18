"""Count the memory that the forward pass keeps for the backward pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from attncli.measure.attention_calls import AttentionCallMode
from attncli.measure.fake_tensors import Network, image_shape, run_on_fake_tensors, storage_key

BATCH = 2  # the smallest that batch normalisation trains on


def count_activation_bytes(model: nn.Module, size: tuple[int, int], frames: int | None = None) -> int:
    """Return the bytes kept for the backward pass of one image (H, W), or one clip, in float32 and training mode.

    Every tensor that autograd saves counts once, with all of its memory. Parameters and buffers do not count,
    images do. Attention keeps its inputs, its result and one number per query, as a fused kernel does. The figure
    is the memory of a batch divided by the batch size.
    """

    def count_saved_bytes(network: Network, images: Tensor, own_storages: set[int]) -> int:
        saved_tensors: dict[int, Tensor] = {}

        def save_tensor(t: Tensor) -> None:
            key = storage_key(t)
            if key not in own_storages:
                saved_tensors.setdefault(key, t)  # kept alive, so that no other memory gets its key

        def save_for_attention(run_attention: Callable[[], Tensor], inputs: list[Tensor]) -> Tensor:
            with saved_tensors_hooks(lambda t: t, lambda t: t):
                out = run_attention()
            if out.requires_grad:
                for t in (*inputs, out, out.new_empty(out.shape[:-1])):
                    save_tensor(t)
            return out

        with torch.enable_grad(), AttentionCallMode(save_for_attention), saved_tensors_hooks(save_tensor, lambda t: t):
            network(images)
        return sum(t.untyped_storage().nbytes() for t in saved_tensors.values())

    return run_on_fake_tensors(model, image_shape(BATCH, size, frames), count_saved_bytes, training=True) // BATCH
