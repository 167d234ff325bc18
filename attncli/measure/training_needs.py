"""Memory and time that a training needs, estimated from exact counts before it begins.

The least memory is what autograd keeps of a batch, with gradients and the optimizer's state; the kernels need more.
Measured on a CPU in float32 (resnet20, resnet18, resnet50, mobilenet_v2, vgg16_bn at 64 to 224 px) the peak was 1.06 to
1.58 times the least.
"""

import copy
import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from attncli.data.dataset import count_free_bytes
from attncli.errors import UserError
from attncli.measure.cost import NetworkCounts
from attncli.measure.fake_tensors import image_shape
from attncli.model import InputSpec
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.recipe.image_size import format_image_size
from attncli.system.memory_limit import read_free_memory

LIKELY_FACTOR = 1.6  # of the least memory, as measured above
ROOMY_SHARE = 0.5  # of the free memory; a training that needs less gets no warning
STATE_COPIES = {"sgd": 1, "adam": 2, "adamw": 2}  # tensors that the optimizer keeps per parameter
FLOAT_BYTES = 4
MACS_PER_STEP = 3  # forward and backward, in multiples of the forward pass
FAST_MACS_PER_S = 4e10  # per thread of a fast CPU; only a training that is long even so is timed
LONG_S, LONG_EPOCH_S = 6 * 3600.0, 3600.0  # above these a training, or one epoch, gets a warning
TIMED_IMAGES = 2
SIDE_STEP = 16  # pixels between the image sizes that are suggested


@dataclass(frozen=True, kw_only=True)
class MemoryNeeds:
    """Bytes on one device: `per_image` of each image in a batch, `fixed` of the parameters, `images` in a batch."""

    per_image: int
    fixed: int
    images: int
    devices: int = 1  # among which a batch is divided, times the parts in which each computes its share

    @property
    def least(self) -> int:
        """The bytes that no kernel can do without."""
        return self.per_image * self.images + self.fixed

    @property
    def likely(self) -> int:
        """The bytes that a training may reach."""
        return int(LIKELY_FACTOR * self.per_image * self.images) + self.fixed

    def find_batch(self, free_bytes: float) -> int:
        """Return the largest power of two of images for which the likely memory fits, or 0."""
        images = (free_bytes - self.fixed) / (LIKELY_FACTOR * self.per_image)
        return 2 ** int(math.log2(images)) if images >= 1 else 0


def estimate_memory(
    recipe: Recipe, counts: NetworkCounts, train_images: int, precision: str, processes: int, shared: int
) -> MemoryNeeds:
    """Return the memory of a training.

    Args:
        recipe: What is trained.
        counts: Its network's parameters, and the bytes kept of an image in float32.
        train_images: How many there are; a batch has no more.
        precision: The format in which it computes, as `train.resolve_precision` gives it.
        processes: Among how many processes a batch is divided.
        shared: How many of these share the memory: 1 on GPUs.
    """
    own_images = math.ceil(min(recipe.train.batch_size, train_images) / processes)
    copies = 1 + STATE_COPIES[recipe.train.optimizer] + (recipe.train.ema is not None)
    return MemoryNeeds(
        per_image=counts.activation_bytes // (2 if precision in ("bf16", "fp16") else 1),
        fixed=shared * copies * FLOAT_BYTES * counts.params,
        images=shared * math.ceil(own_images / recipe.train.accumulate),
        devices=processes * recipe.train.accumulate // shared,
    )


def check_memory(
    recipe: Recipe, needs: MemoryNeeds, free_bytes: int, size: tuple[int, int], *, has_bf16: bool
) -> str | None:
    """Return a warning if a training may not fit into the free memory or takes most of it, else None.

    Raises UserError if it cannot fit, unless measure.check_memory is false. Both name settings that help.
    """
    if needs.likely <= ROOMY_SHARE * free_bytes:
        return None
    hints = []
    if 0 < (images := needs.find_batch(ROOMY_SHARE * free_bytes)) < needs.images:
        hints.append(f"--set train.batch_size={images * needs.devices}")
        hints.append(f"--set train.accumulate={math.ceil(needs.images / images) * recipe.train.accumulate}")
    room = max(0.0, (ROOMY_SHARE * free_bytes - needs.fixed) / (LIKELY_FACTOR * needs.per_image * needs.images))
    height, width = (int(side * math.sqrt(room)) // SIDE_STEP * SIDE_STEP for side in size)
    if min(height, width) >= SIDE_STEP and (height, width) != size and recipe.data.name != "clips":
        hints.append(f"--image-size {format_image_size((height, width))}")
    if recipe.train.precision == "fp32" and has_bf16:
        hints.append("--set train.precision=bf16")
    advice = " or ".join(hints) or "a smaller network"
    images_text = f"{format_quantity(needs.images, 'image')} of {format_image_size(size)} px at a time"
    if needs.least > free_bytes and recipe.measure.check_memory:
        raise UserError(
            f"training {images_text} needs at least {format_bytes(needs.least)} of memory, "
            f"and {format_bytes(free_bytes)} are free",
            f"{advice}; --set measure.check_memory=false trains regardless",
        )
    need_text = f"{format_bytes(needs.least)} to {format_bytes(needs.likely)}"
    return f"training {images_text} takes {need_text} of memory, {format_bytes(free_bytes)} are free; less: {advice}"


def check_duration(
    recipe: Recipe, net: nn.Module, counts: NetworkCounts, spec: InputSpec, train_images: int
) -> str | None:
    """Return a warning if a training on CPUs takes hours, else None.

    Only a training that would be long on a fast CPU is timed: two images, forward and backward, on a copy of `net`.
    """
    macs = MACS_PER_STEP * counts.macs * train_images
    if recipe.train.epochs * macs / (FAST_MACS_PER_S * torch.get_num_threads()) < LONG_S / 10:
        return None
    rate = time_images_per_s(net, spec)
    epoch_s = train_images / rate
    if epoch_s < LONG_EPOCH_S and recipe.train.epochs * epoch_s < LONG_S:
        return None
    total = (
        f"time of {format_quantity(recipe.train.epochs, 'epoch')}: about {format_hours(recipe.train.epochs * epoch_s)}"
    )
    size_text, half_text = (format_image_size((spec.size[0] // part, spec.size[1] // part)) for part in (1, 2))
    rate_text = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
    half = f"; --image-size {half_text} takes about a quarter of it" if min(spec.size) >= 2 * SIDE_STEP else ""
    return f"{total} ({rate_text} images/s, {counts.macs / 1e9:.2f} GMACs per image of {size_text} px){half}"


def time_images_per_s(net: nn.Module, spec: InputSpec) -> float:
    """Return the images (or clips) per second of a few training steps of a copy of `net` on the CPU."""
    with torch.random.fork_rng(devices=[]):
        network = copy.deepcopy(net).train()
        images = torch.zeros(image_shape(TIMED_IMAGES, spec.size, spec.frames))
        labels = torch.zeros(TIMED_IMAGES, dtype=torch.long)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            F.cross_entropy(network(images), labels).backward()
            seconds.append(time.perf_counter() - started)
    return TIMED_IMAGES / min(seconds)


def read_free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; of a CPU what this process may still take, within its container's limit."""
    if device.type == "cuda":
        return count_free_bytes(device)
    return read_free_memory()


def format_bytes(count: float) -> str:
    """Return bytes in GB or MB (10^9, 10^6)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def format_hours(seconds: float) -> str:
    """Return a duration in hours, or in days if it is several."""
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
