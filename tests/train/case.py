"""Small networks, data and recipes on which training can be watched to the last bit."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attncli.data.dataset import Dataset, Split
from attncli.recipe import Recipe
from attncli.records import Epoch
from attncli.train import train_model


class Net(nn.Module):
    """Convolution, norm, dropout, linear: what training has to get right, in a hundred weights."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes) of images (b, 3, H, W)."""
        x = self.conv2(self.norm(self.conv1(x)).relu()).relu()
        return self.head(self.drop(x.mean((2, 3))))


class Annealed(Net):
    """A net whose output is cooled from epoch to epoch, as dynamic convolution's attention is."""

    temperature = 30.0

    def anneal(self, epoch: int) -> None:
        """Set the temperature of the epoch (from 0)."""
        self.temperature = max(1.0, 30.0 - 3 * epoch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's logits over the temperature."""
        return super().forward(x) / self.temperature


class Signalling(Net):
    """A net that gets a signal in the forward pass of training batch `at` (from 0)."""

    def __init__(self, at: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.at, self.number, self.seen = at, number, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's logits, after the signal where it is time."""
        if self.training:
            if self.seen == self.at:
                os.kill(os.getpid(), self.number)
            self.seen += 1
        return super().forward(x)


def split(n: int, seed: int, classes: int = 4, size: int = 8) -> Split:
    """Random images whose mean brightness tells the class."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=g)
    noise = torch.randint(0, 120, (n, 3, size, size), generator=g)
    return Split((noise + (30 * labels)[:, None, None, None]).to(torch.uint8), labels)


def dataset(n: int = 50, val: int | None = 11, classes: int = 4) -> Dataset:
    """n training images of 8 x 8, some for validation."""
    return Dataset(
        name="bright",
        classes=tuple("abcdefghij"[:classes]),
        size=(8, 8),
        frames=None,
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        train=split(n, 1, classes),
        val=None if val is None else split(val, 2, classes),
        test=split(13, 3, classes),
        digest="d" * 64,
        origin="drawn",
        pad=1,
        flip=True,
    )


def recipe(seed: int = 0, **train: Any) -> Recipe:
    """Three epochs of six steps, without a schedule's surprises unless asked for."""
    base = {"epochs": 3, "batch_size": 8, "lr": 0.05, "schedule": "cosine", "precision": "fp32"}
    return Recipe.model_validate({"train": base | train, "seed": seed})


def net(kind: type[Net] = Net, **options: Any) -> Net:
    """A network with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return kind(**options)


def run(model: nn.Module, made: Recipe, folder: Path | None = None, **options: Any) -> list[Epoch]:
    """The epochs of a whole training."""
    return list(train_model(model, dataset(), made, folder=folder, **options))


def figures(epochs: list[Epoch]) -> list[tuple[float | None, ...]]:
    """What must be the same in two trainings: everything but the time they took."""
    return [(e.epoch, e.train_loss, e.lr, e.val_loss, e.val_top1) for e in epochs]


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks agree in every bit."""
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())
