"""Trainings on varied images: resumed to the bit, the same under every mechanism, refused where labels don't fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.dataset import Dataset, Split
from attncli.data.images.arrays import wrap_tensor
from attncli.errors import UserError
from attncli.train import Interrupted, train_model
from tests.train.case import Net, Signalling, dataset, figures, net, recipe, same

EVERYTHING = AugmentationConfig(crop="resized", policy="rand", erase=0.5, mixup=0.4, cutmix=1.0)
TRIVIAL = AugmentationConfig(policy="trivial", mixup=0.2)


def varied(vary: AugmentationConfig) -> Dataset:
    """The bright images, varied."""
    made = dataset()
    split = made.train
    if vary.crop == "resized":
        whole = wrap_tensor(split.images.movedim(1, -1).contiguous(), "")
        split = Split(split.images[:0], split.labels, whole)
    return replace(made, train=split, augmentation=vary)


def run(model: Net, vary: AugmentationConfig, folder: Path | None = None, **options: Any) -> list[Any]:
    """The epochs of a whole training."""
    return list(train_model(model, varied(vary), recipe(label_smoothing=0.1), folder=folder, **options))


@pytest.mark.parametrize("vary", [EVERYTHING, TRIVIAL])
@pytest.mark.parametrize("at", [0, 8])
def test_stopped_and_resumed(tmp_path: Path, vary: AugmentationConfig, at: int) -> None:
    """Stopped in an epoch and resumed, a training on varied images ends in the bits of an undisturbed one."""
    whole, resumed = net(), net()
    expected = run(whole, vary)
    with pytest.raises(Interrupted):
        run(net(Signalling, at=at), vary, tmp_path)
    assert figures(run(resumed, vary, tmp_path, resume=True)) == figures(expected)
    assert same(resumed, whole)


class Noting(Net):
    """A net that keeps the images it was shown, and another shape of which draws random numbers of its own."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width=width)
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """The net's logits, after noting x."""
        if self.training:
            self.shown.append(x.clone())
        return super().forward(x)


def test_common_random_numbers() -> None:
    """Two networks of one seed are shown the same images, to the last bit, however they are varied."""
    narrow, wide = net(Noting), net(Noting, width=16)
    run(narrow, EVERYTHING)
    run(wide, EVERYTHING)
    assert len(narrow.shown) == len(wide.shown) == 18
    assert all(torch.equal(a, b) for a, b in zip(narrow.shown, wide.shown, strict=True))


class Own(Net):
    """A net with a loss of its own, which takes one class an image."""

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The mean square of the logits."""
        logits = self(x)
        return logits.square().mean(), logits


def test_a_loss_of_its_own_takes_no_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed labels and a network's own loss are refused before the first step."""
    monkeypatch.setattr("attncli.train.loss.is_whole_network", lambda name: True)
    with pytest.raises(UserError, match=r"data\.mixup, data\.cutmix"):
        run(net(Own), TRIVIAL)
