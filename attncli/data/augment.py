"""Random crop and flip of whole batches of uint8 images by index arithmetic, and normalisation.

Each image is mirrored or not, padded with zeros (black) by `pad` pixels on all four sides and cropped back to its
size at an offset of its own, uniform over the (2 pad + 1)^2 possible ones (He et al. 2015, Sec. 4.2). All frames of
a clip share their clip's offset and flip.

Layout: (b, T, H, W, 3), colour planes innermost, T = 1 for still images. A crop is one indexing of a strided view
that holds all windows of the padded batch; rows of W * 3 bytes are copied as they lie. Nothing waits for the device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from attncli.data.dataset import Three


@dataclass(frozen=True)
class Draw:
    """What happens to each image of a batch: offsets (b,) from 0 to 2 pad, flips (b,) bool; on the CPU."""

    y: Tensor
    x: Tensor
    flip: Tensor

    def part(self, rows: slice | Tensor) -> "Draw":
        """The draw of some images of the batch."""
        return Draw(self.y[rows], self.x[rows], self.flip[rows])


def draw(count: int, pad: int, flip: bool, seed: int) -> Draw:
    """Offsets and flips of a batch of `count` images, from `seed` alone."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.randint(2 * pad + 1, (2, count), generator=random)
    flips = torch.randint(2, (count,), generator=random).bool()
    return Draw(y, x, flips if flip else torch.zeros_like(flips))


def crop_flip(images: Tensor, rows: Tensor, drawn: Draw, pad: int, device: torch.device) -> Tensor:
    """Images `rows` of `images` (n, T, H, W, 3), cropped and flipped as drawn: (b, T, H, W, 3), uint8, on `device`.

    The batch is gathered with the images to be mirrored last, so that each image is written once into the padded
    batch, mirrored or not, and the indexing that crops puts it back in its place.
    """
    b, (frames, height, width) = len(rows), images.shape[1:4]
    mirrored = int(drawn.flip.sum())  # of a tensor on the CPU
    if pad == 0 and mirrored == 0:
        return gather(images, rows, device)
    arranged = drawn.flip.to(torch.uint8).argsort(stable=True)
    index = send(torch.stack([arranged.argsort(), drawn.y, drawn.x]), device)
    x = gather(images, rows[arranged], device)

    high, row = height + 2 * pad, (width + 2 * pad) * 3
    padded = x.new_zeros(b, frames, high, row)
    inner = padded[:, :, pad : pad + height, pad * 3 : row - pad * 3].unflatten(-1, (width, 3))
    inner[: b - mirrored] = x[: b - mirrored]
    inner[b - mirrored :] = x[b - mirrored :].flip(-2)

    offsets = 2 * pad + 1
    shape = (b, offsets, offsets, frames, height, width * 3)
    windows = padded.as_strided(shape, (frames * high * row, row, 3, high * row, row, 1))
    return windows[index[0], index[1], index[2]].unflatten(-1, (width, 3))


def gather(images: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Images `rows` (numbers on the CPU) on `device`, as uint8."""
    return send(images.index_select(0, send(rows, images.device)), device)


def send(x: Tensor, device: torch.device) -> Tensor:
    """x on `device`; from main memory to a GPU through pinned memory, without waiting."""
    if x.device == device:
        return x
    return (x.pin_memory() if device.type == "cuda" and not x.is_cuda else x).to(device, non_blocking=True)


class Normalise:
    """uint8 (b, T, H, W, 3) -> float32 (x / 255 - mean) / std as (b, 3, H, W), or (b, T, 3, H, W) for clips."""

    def __init__(
        self, mean: Three, std: Three, width: int, *, clips: bool, channels_last: bool, device: torch.device
    ) -> None:
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64).clamp_min(1e-6))
        shift = -255 * torch.tensor(mean, dtype=torch.float64) * scale
        # channels_last: one factor for each byte of a row, so that the innermost loop is W * 3 long, not 3
        shape = (1, 3 * width) if channels_last else (3, 1, 1)
        rows = width if channels_last else 1
        self.scale, self.shift = (send(v.float().repeat(rows).view(shape), device) for v in (scale, shift))
        self.clips, self.channels_last = clips, channels_last

    def __call__(self, x: Tensor) -> Tensor:
        """The normalised batch, in memory with the colour planes innermost if channels_last, else contiguous."""
        if self.channels_last:
            y = torch.addcmul(self.shift, x.flatten(-2).float(), self.scale).unflatten(-1, (-1, 3)).movedim(-1, -3)
        else:
            y = torch.addcmul(self.shift, x.movedim(-1, -3).contiguous().float(), self.scale)
        return y if self.clips else y.squeeze(1)
