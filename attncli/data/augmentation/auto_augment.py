"""RandAugment and TrivialAugment for batches: operations and magnitudes are drawn for each image separately.

    rand      `ops` operations, one after the other, each any of the 14, of magnitude m of 30
              (Cubuk et al. 2020, arXiv:1909.13719)
    trivial   one operation of any magnitude (Müller and Hutter 2021, arXiv:2103.10158, the wide space)

The operations and the meaning of the magnitudes are torchvision's; half of the signed ones get the opposite sign. All
frames of a clip share one draw. (kornia.augmentation also draws per image, but from torch's global
generator; here every draw follows from the seed of the step.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.augmentation.crop_flip import send_to_device
from attncli.data.augmentation.ops import OPS, Op, identity

BINS = 31  # magnitudes 0 to 30
SIGNED = tuple(f.__name__ for f in OPS[1:10])  # from shear_x to sharpness


@dataclass(frozen=True)
class OperationDraw:
    """An operation (b,), by its number in `OPS`, and its value (b,) for each image of a batch; on the CPU."""

    op: Tensor
    value: Tensor

    def select_rows(self, rows: slice | Tensor) -> "OperationDraw":
        """Return the draws of some images."""
        return OperationDraw(self.op[rows], self.value[rows])


def draw_operations(
    count: int, height: int, width: int, augmentation: AugmentationConfig, seed: int
) -> list[OperationDraw]:
    """Draw the operations of `count` images from `seed`: one OperationDraw per layer, none without a policy."""
    if augmentation.policy == "none":
        return []
    generator = torch.Generator().manual_seed(seed)
    wide = augmentation.policy == "trivial"
    table = tabulate_magnitudes(height, width, wide=wide)
    layers = []
    for _ in range(1 if wide else augmentation.ops):
        op = torch.randint(len(OPS), (count,), generator=generator)
        size = torch.randint(BINS, (count,), generator=generator)
        sign = torch.randint(2, (count,), generator=generator)
        value = table[op, size if wide else torch.full_like(size, augmentation.magnitude)]
        signed = torch.tensor([operation.__name__ in SIGNED for operation in OPS])[op]
        layers.append(OperationDraw(op, torch.where(signed & (sign == 1), -value, value)))
    return layers


def tabulate_magnitudes(height: int, width: int, *, wide: bool) -> Tensor:
    """Return the value of each operation at each magnitude, (14, 31): pixels, degrees, factors, bits or thresholds."""
    slope = torch.linspace(0, 1, BINS)
    bits = 8 - (slope * (6 if wide else 4)).round()
    translation = (32.0, 32.0) if wide else (150 / 331 * width, 150 / 331 * height)
    factor, shear = (0.99, 0.99) if wide else (0.9, 0.3)
    rows = dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), slope * factor)
    rows |= {"shear_x": slope * shear, "shear_y": slope * shear, "rotate": slope * (135.0 if wide else 30.0)}
    rows |= {"translate_x": slope * translation[0], "translate_y": slope * translation[1], "posterize": bits}
    rows |= {"solarize": 255 * (1 - slope)}
    return torch.stack([rows.get(operation.__name__, torch.zeros(BINS)) for operation in OPS])


def apply_operations(images: Tensor, layers: list[OperationDraw]) -> Tensor:
    """Return images (b, T, H, W, 3), uint8, after their operations.

    The draws stay on the CPU, so nothing waits for a GPU. The images are sorted by their operation: then each operation
    works on one part of the batch, and a layer needs two copies to the device, whatever was drawn.
    """
    frames = images.shape[1]
    for layer in layers:
        order = layer.op.argsort(stable=True)
        index = send_to_device(torch.stack([order, order.argsort()]), images.device)
        values = send_to_device(layer.value[order].repeat_interleave(frames), images.device)
        x = images.index_select(0, index[0]).flatten(0, 1).permute(0, 3, 1, 2)
        counts = [frames * count for count in layer.op.bincount(minlength=len(OPS)).tolist()]
        parts = zip(OPS, x.split(counts), values.split(counts), strict=True)
        y = torch.cat([_apply_operation(operation, part, value) for operation, part, value in parts if len(part)])
        images = y.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).index_select(0, index[1])
    return images


def _apply_operation(operation: Op, x: Tensor, value: Tensor) -> Tensor:
    """Return images (n, 3, H, W), uint8, after one operation, each with its value (n,)."""
    return x if operation is identity else operation(x.float(), value).to(torch.uint8)
