"""The usual training loop for small images, as tutorials and reference scripts write it, for comparison.

Images are in an array, as in torchvision's CIFAR10; each becomes a PIL image and goes through torchvision's
transforms in a worker process of a DataLoader. Memory, optimiser and threads keep PyTorch's defaults.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from attncli.benchmark.training_loops import DECAY, LR, MOMENTUM, BenchSetting, EpochRunner
from attncli.system import hardware
from attncli.train import choose_device


class NoiseImages(Dataset[tuple[Tensor, int]]):
    """Images of an array (n, H, W, 3), one at a time, cropped and mirrored at random."""

    def __init__(self, setting: BenchSetting) -> None:
        split = setting.make_images()
        self.images = split.images.movedim(1, -1).numpy()
        self.labels = split.labels.tolist()
        steps: list[Any] = [transforms.RandomCrop(setting.size, padding=setting.pad)]
        if setting.flip:
            steps.append(transforms.RandomHorizontalFlip())
        steps += [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def count_loader_workers() -> int:
    """Return the number of worker processes: one per core, at most eight."""
    return min(8, hardware.count_usable_cpus() or 1)


def build_dataloader_loop(setting: BenchSetting, folder: Path, *, fast: bool = False) -> EpochRunner:
    """Return the usual loop; with `fast`, bf16 autocast and channels_last. Nothing is written to `folder`."""
    device = choose_device()
    layout = torch.channels_last if fast else torch.contiguous_format
    net = setting.build_network().to(device)
    net.to(memory_format=layout)
    net.train()
    optimizer = SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True)
    loader = DataLoader(
        NoiseImages(setting),
        batch_size=setting.batch_size,
        shuffle=True,
        num_workers=count_loader_workers(),
        persistent_workers=True,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )

    def run_epoch() -> float:
        loss_sum = 0.0
        for images, labels in loader:
            images = images.to(device, memory_format=layout, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
                loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        return loss_sum / len(loader)

    return run_epoch
