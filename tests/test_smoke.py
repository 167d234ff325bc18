"""Every mechanism, and the plain network, trains for two epochs on embedded digits with a falling loss.

The digits have 8 px, so resnet20's maps have 8, 4 and 2. Mechanisms on frames get clips of three frames of the same
digits. All go through `attncli.train.train`, as a run does, in the precision that suits the machine.
"""

from pathlib import Path
from typing import Any

import pytest

from attncli import attention, data, model
from attncli.recipe import Recipe, read
from attncli.train import train_model

BASE: dict[str, Any] = {
    "data.fraction": 0.2,
    "model.backbone": "resnet20",
    "train.epochs": 2,
    "train.batch_size": 16,
    "train.lr": 0.02,
    "train.schedule": "constant",
}
WHOLE: dict[str, Any] = {"data.fraction": 1.0, "train.batch_size": 32}
ADAM: dict[str, Any] = {"train.optimizer": "adam", "train.lr": 1e-3, "train.weight_decay": 0.0}

# Networks that need all images or another optimiser. EAMLP stays on a plateau for some 200 steps.
OWN: dict[str, dict[str, Any]] = {
    "vit": ADAM,
    "multi-head-external": WHOLE | ADAM | {"train.lr": 5e-4, "train.batch_size": 8},
    "ram": WHOLE | ADAM | {"train.lr": 3e-3, "data.pad": 0},
    "gltr": WHOLE,
    "highway": WHOLE,
    "halo": ADAM | {"model.options": {"block": 4, "halo": 1}, "data.fraction": 0.3},
    "involution": ADAM | {"data.fraction": 0.3},
    "lambda": ADAM | {"train.batch_size": 32},
    "lka": ADAM,
}


def smoke_recipe(attn: str, seed: int = 0) -> Recipe:
    """The recipe of a mechanism's two epochs."""
    on_frames = attn != attention.NONE and attention.describe_mechanism(attn).card.site.startswith("frames")
    images = {"data.name": "clips", "data.frames": 3} if on_frames else {"data.name": "digits"}
    return read(values=BASE | images | OWN.get(attn, {}) | {"model.attn": attn, "seed": seed})


@pytest.mark.parametrize("attn", [attention.NONE, *attention.mechanism_names()])
def test_loss_falls(attn: str, tmp_path: Path) -> None:
    """The mean loss of the second epoch is below that of the first, RAM's own loss (with REINFORCE) too."""
    recipe = smoke_recipe(attn)
    digits = data.load(recipe.data, cache=tmp_path)
    net = model.build(recipe, model.InputSpec(len(digits.classes), digits.size, digits.frames))
    first, second = train_model(net, digits, recipe)
    assert second.train_loss < first.train_loss
    assert second.val_top1 is not None
