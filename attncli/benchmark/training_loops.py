"""Training loops that run one epoch per call: attncli's own and its rivals.

    ours              attncli's own with its records and checkpoints on disk, as `attncli run` calls it
    bare              the least code that trains: one uint8 tensor, batched crop and flip, bf16 where native,
                      channels_last, a fused optimiser, tuned memory; no log, no checks, no checkpoint
    bare-contiguous   the same with contiguous maps
    usual             a DataLoader with worker processes over PIL images, float32, contiguous
    usual-bf16        the usual loop with bf16 autocast and channels_last

All train the same network from the same weights, on the same images, with the same optimiser and learning rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from attncli import model, records
from attncli.data.dataset import Dataset, Split
from attncli.recipe import Data, Model, Recipe, Train
from attncli.train import autocast_context, choose_device, resolve_precision, train_model, tune_malloc

EpochRunner = Callable[[], float]  # trains one epoch and returns its mean loss
LR, MOMENTUM, DECAY = 0.01, 0.9, 5e-4


@dataclass(frozen=True)
class BenchSetting:
    """What all contenders train: a network of attncli, on `steps` batches of noise images per epoch."""

    backbone: str
    attn: str
    batch_size: int = 128
    steps: int = 8
    size: int = 32  # H = W
    classes: int = 10
    pad: int = 4
    flip: bool = True

    def build_recipe(self) -> Recipe:
        """Return the recipe that attncli trains: SGD at a constant learning rate, practically without end."""
        return Recipe(
            data=Data(name="noise"),
            model=Model(backbone=self.backbone, attn=self.attn),
            train=Train(
                epochs=1_000_000, batch_size=self.batch_size, lr=LR, momentum=MOMENTUM, weight_decay=DECAY,
                schedule="constant",
            ),
        )  # fmt: skip

    def make_images(self) -> Split:
        """Return `steps` batches of uint8 noise (n, 3, H, W), channels last in memory, and labels."""
        generator = torch.Generator().manual_seed(0)
        count = self.steps * self.batch_size
        x = torch.randint(256, (count, self.size, self.size, 3), generator=generator, dtype=torch.uint8)
        return Split(x.movedim(-1, 1), torch.randint(self.classes, (count,), generator=generator))

    def make_dataset(self) -> Dataset:
        """Return these images as a dataset, as training and as test set."""
        split = self.make_images()
        return Dataset(
            name="noise",
            classes=tuple(map(str, range(self.classes))),
            size=(self.size, self.size),
            frames=None,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            train=split,
            val=None,
            test=split,
            digest="noise",
            origin="random numbers",
            pad=self.pad,
            flip=self.flip,
        )

    def build_network(self) -> nn.Module:
        """Build the network, with the same weights in every process."""
        return model.build(self.build_recipe(), model.InputSpec(self.classes, (self.size, self.size)))


def build_attncli_loop(setting: BenchSetting, folder: Path) -> EpochRunner:
    """Return attncli's loop; its files are written to `folder`."""
    epochs = train_model(setting.build_network(), setting.make_dataset(), setting.build_recipe(), folder=folder)

    def run_epoch() -> float:
        record = next(epochs)
        records.append_record(folder, record)
        return record.train_loss

    return run_epoch


def build_bare_loop(setting: BenchSetting, folder: Path, *, channels_last: bool = True) -> EpochRunner:
    """Return a loop written by hand for one network on one machine; nothing is written to `folder`.

    Maps are in channels_last, or contiguous.
    """
    tune_malloc()
    device = choose_device()
    torch.backends.cudnn.benchmark = True
    precision = resolve_precision("auto", device)
    net = setting.build_network().to(device).train()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net.to(memory_format=layout)
    optimizer = SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True, fused=True)
    batches = partial(_iterate_crops, setting, _crop_windows(setting, device), setting.make_images().labels.to(device))

    def run_epoch() -> float:
        losses = []
        for images, labels in batches():
            with autocast_context(precision, device):
                logits = net(images.contiguous(memory_format=layout))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses).mean().item()

    return run_epoch


def _crop_windows(setting: BenchSetting, device: torch.device) -> Tensor:
    """Return all windows of the padded images as a view (n, 2 pad + 1, 2 pad + 1, H, W * 3)."""
    images, pad = setting.make_images().images.movedim(1, -1), setting.pad
    padded = F.pad(images, (0, 0, pad, pad, pad, pad)).to(device)
    n, padded_height = padded.shape[:2]
    row_stride = padded_height * 3
    shape = (n, 2 * pad + 1, 2 * pad + 1, setting.size, setting.size * 3)
    return padded.as_strided(shape, (padded_height * row_stride, row_stride, 3, row_stride, 1))


def _iterate_crops(setting: BenchSetting, windows: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch: shuffled, cropped, mirrored, normalised; (b, 3, H, W) in channels_last."""
    device, pad, side = windows.device, setting.pad, setting.size
    for rows in torch.randperm(len(labels), device=device).split(setting.batch_size):
        y, x = torch.randint(2 * pad + 1, (2, len(rows)), device=device)
        images = windows[rows, y, x].view(-1, side, side, 3)
        if setting.flip:
            mirrored = torch.rand(len(rows), device=device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        yield (images.float().div_(255).sub_(0.5).div_(0.25)).permute(0, 3, 1, 2), labels[rows]
