"""Random crop and flip of whole batches of uint8 images by index arithmetic, and normalisation.

Each image is mirrored or not, padded with zeros (black) by `pad` pixels on all four sides and cropped back to its size
at its own offset, uniform over the (2 pad + 1)^2 possible ones (He et al. 2015, Sec. 4.2). All frames of a clip share
one offset and flip.

Layout: (b, T, H, W, 3), colour planes innermost, T = 1 for still images. A crop is one indexing of a strided view that
contains all windows of the padded batch; rows of W * 3 bytes are copied as they are. Nothing waits for the device.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attncli.data.images.arrays import RGBTriple


@dataclass(frozen=True)
class CropFlipDraw:
    """What happens to each image of a batch: offsets (b,) from 0 to 2 pad, flips (b,) bool; on the CPU."""

    y: Tensor
    x: Tensor
    flip: Tensor

    @cached_property
    def order(self) -> Tensor:
        """The positions of the images (b,) in the order in which they are gathered: the ones to be mirrored last."""
        return self.flip.to(torch.uint8).argsort(stable=True)

    def select_rows(self, rows: slice | Tensor) -> "CropFlipDraw":
        """Return the draws of some images of the batch."""
        return CropFlipDraw(self.y[rows], self.x[rows], self.flip[rows])


def draw_crop_flip(count: int, pad: int, flip: bool, seed: int) -> CropFlipDraw:
    """Draw offsets and flips of a batch of `count` images from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.randint(2 * pad + 1, (2, count), generator=generator)
    flips = torch.randint(2, (count,), generator=generator).bool()
    return CropFlipDraw(y, x, flips if flip else torch.zeros_like(flips))


def crop_and_flip(images: Tensor, rows: Tensor, drawn: CropFlipDraw, pad: int, device: torch.device) -> Tensor:
    """Return rows of `images`, cropped and flipped as drawn: (b, T, H, W, 3), uint8, on `device`.

    The batch is gathered with the images to be mirrored last. So each image is written into the padded batch once,
    mirrored or not, and the indexing that crops restores the order.

    Args:
        images: (n, T, H, W, 3), uint8.
        rows: row numbers (b,) on the CPU.
        drawn: offsets and flips of these rows.
        pad: padding in pixels.
        device: where the batch is made.
    """
    return crop_gathered(gather_rows(images, rows[drawn.order], device), drawn, pad)


def crop_gathered(x: Tensor, drawn: CropFlipDraw, pad: int) -> Tensor:
    """Return images cropped and flipped as drawn, (b, T, H, W, 3), uint8, on the device of `x`.

    Args:
        x: the images to be cropped, in `drawn.order`.
        drawn: offsets and flips, on the CPU.
        pad: padding in pixels.
    """
    width, mirrored_count = x.shape[3], int(drawn.flip.sum())  # a tensor on the CPU
    if pad == 0 and mirrored_count == 0:
        return x
    index = send_to_device(torch.stack([drawn.order.argsort(), drawn.y, drawn.x]), x.device)
    windows = _view_windows(_pad_and_mirror(x, mirrored_count, pad), pad)
    return windows[index[0], index[1], index[2]].unflatten(-1, (width, 3))


def _pad_and_mirror(x: Tensor, mirrored_count: int, pad: int) -> Tensor:
    """Return images (b, T, H, W, 3) with zeros around them, the last `mirrored_count` mirrored: (b, T, H + 2 pad, -1).

    The last dimension holds the (W + 2 pad) * 3 bytes of a row.
    """
    b, frames, height, width = x.shape[:4]
    padded = x.new_zeros(b, frames, height + 2 * pad, (width + 2 * pad) * 3)
    inner = padded[:, :, pad : pad + height, pad * 3 : (pad + width) * 3].unflatten(-1, (width, 3))
    inner[: b - mirrored_count] = x[: b - mirrored_count]
    inner[b - mirrored_count :] = x[b - mirrored_count :].flip(-2)
    return padded


def _view_windows(padded: Tensor, pad: int) -> Tensor:
    """Return a view of all crops of `_pad_and_mirror`'s images by image and offset: (b, y, x, T, H, W * 3).

    y and x go from 0 to 2 pad. A step in y moves the window by a row, a step in x by the 3 bytes of a pixel.
    """
    b, frames, padded_height, row_bytes = padded.shape
    offsets, frame_bytes = 2 * pad + 1, padded_height * row_bytes
    shape = (b, offsets, offsets, frames, padded_height - 2 * pad, row_bytes - 2 * pad * 3)
    return padded.as_strided(shape, (frames * frame_bytes, row_bytes, 3, frame_bytes, row_bytes, 1))


def gather_rows(images: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Return the given rows (numbers on the CPU) of `images` on `device`."""
    return send_to_device(images.index_select(0, send_to_device(rows, images.device)), device)


def send_to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return x on `device`; from main memory to a CUDA GPU through pinned memory, without waiting.

    To any other device the copy is finished when this returns: the memory of a temporary tensor may be used again at
    once, and Apple's GPUs would read it too late.
    """
    if x.device == device:
        return x
    if device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


class Normaliser:
    """Turn uint8 (b, T, H, W, 3) into float32 (x / 255 - mean) / std, (b, 3, H, W), or (b, T, 3, H, W) for clips."""

    def __init__(
        self, mean: RGBTriple, std: RGBTriple, width: int, *, clips: bool, channels_last: bool, device: torch.device
    ) -> None:
        scale = 1 / (255 * torch.tensor(std, dtype=torch.float64).clamp_min(1e-6))
        shift = -255 * torch.tensor(mean, dtype=torch.float64) * scale
        # channels_last: one factor for each byte of a row, so that the innermost loop is W * 3 long, not 3
        shape = (1, 3 * width) if channels_last else (3, 1, 1)
        repeats = width if channels_last else 1
        self.scale, self.shift = (
            send_to_device(factor.float().repeat(repeats).view(shape), device) for factor in (scale, shift)
        )
        self.clips, self.channels_last = clips, channels_last

    def __call__(self, x: Tensor) -> Tensor:
        """Return the normalised batch, in memory with the colour planes innermost if channels_last, else contiguous."""
        if self.channels_last:
            y = torch.addcmul(self.shift, x.flatten(-2).float(), self.scale).unflatten(-1, (-1, 3)).movedim(-1, -3)
        else:
            y = torch.addcmul(self.shift, x.movedim(-1, -3).contiguous().float(), self.scale)
        return y if self.clips else y.squeeze(1)
