"""RandAugment and TrivialAugment for batches: operations and magnitudes are drawn for each image on its own.

    rand      `ops` operations, one after the other, each any of the 14, of magnitude m of 30
              (Cubuk et al. 2020, arXiv:1909.13719)
    trivial   one operation of any magnitude (Müller and Hutter 2021, arXiv:2103.10158, the wide space)

The operations and the meaning of the magnitudes are torchvision's; half of the signed ones go the other way. All frames
of a clip share their clip's draw.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.ops import OPS
from attncli.data.vary import Vary

BINS = 31  # magnitudes 0 to 30
SIGNED = tuple(f.__name__ for f in OPS[1:10])  # from the shears to the sharpness


@dataclass(frozen=True)
class Layer:
    """An operation (b,), by its number in `OPS`, and its value (b,) for each image of a batch; on the CPU."""

    op: Tensor
    value: Tensor

    def part(self, rows: slice | Tensor) -> "Layer":
        """The draws of some images."""
        return Layer(self.op[rows], self.value[rows])


def draw_policy(count: int, height: int, width: int, vary: Vary, seed: int) -> list[Layer]:
    """The layers of a batch of `count` images, from `seed` alone; none without a policy."""
    if vary.policy == "none":
        return []
    random = torch.Generator().manual_seed(seed)
    wide = vary.policy == "trivial"
    table = values(height, width, wide=wide)
    layers = []
    for _ in range(1 if wide else vary.ops):
        op = torch.randint(len(OPS), (count,), generator=random)
        size = torch.randint(BINS, (count,), generator=random)
        sign = torch.randint(2, (count,), generator=random)
        value = table[op, size if wide else torch.full_like(size, vary.magnitude)]
        signed = torch.tensor([f.__name__ in SIGNED for f in OPS])[op]
        layers.append(Layer(op, torch.where(signed & (sign == 1), -value, value)))
    return layers


def values(height: int, width: int, *, wide: bool) -> Tensor:
    """What each operation takes at each magnitude, (14, 31): pixels, degrees, factors, bits or thresholds."""
    slope = torch.linspace(0, 1, BINS)
    bits = 8 - (slope * (6 if wide else 4)).round()
    far = (32.0, 32.0) if wide else (150 / 331 * width, 150 / 331 * height)
    factor, shear = (0.99, 0.99) if wide else (0.9, 0.3)
    rows = dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), slope * factor)
    rows |= {"shear_x": slope * shear, "shear_y": slope * shear, "rotate": slope * (135.0 if wide else 30.0)}
    rows |= {"translate_x": slope * far[0], "translate_y": slope * far[1], "posterize": bits}
    rows |= {"solarize": 255 * (1 - slope)}
    return torch.stack([rows.get(f.__name__, torch.zeros(BINS)) for f in OPS])


def apply(images: Tensor, layers: list[Layer]) -> Tensor:
    """Images (b, T, H, W, 3), uint8, after their operations; what is drawn lies on the CPU, so nothing waits."""
    frames = images.shape[1]
    for layer in layers:
        out = images.clone()
        for number in layer.op.unique().tolist():
            if number == 0:
                continue
            rows = (layer.op == number).nonzero().flatten()
            value = layer.value[rows].to(images.device, non_blocking=True).repeat_interleave(frames)
            at = rows.to(images.device, non_blocking=True)
            x = images[at].flatten(0, 1).permute(0, 3, 1, 2).float()
            y = OPS[number](x, value).to(torch.uint8).permute(0, 2, 3, 1)
            out[at] = y.unflatten(0, (len(rows), frames))
        images = out
    return images
