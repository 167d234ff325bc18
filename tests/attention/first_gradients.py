"""Print the first gradient of networks over that of the plain one: `python -m tests.attention.first_gradients`.

The networks are resnet20 without `model.zero_init_residual`, on 128 digits of 8 px, in float32. The figure is the ratio
of the Euclidean norms of the gradients of all parameters, for five seeds.
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from attncli import data, model
from attncli.model import InputSpec
from attncli.recipe import read

IMAGES, SEEDS = 128, 5
MECHANISMS = ("involution", "lambda")


def main() -> None:
    """Print a line per mechanism."""
    for attn in MECHANISMS:
        ratios = sorted(measure_gradient(attn, seed) / measure_gradient("none", seed) for seed in range(SEEDS))
        print(attn, *(f"{ratio:.1f}" for ratio in ratios))


def measure_gradient(attn: str, seed: int) -> float:
    """Return the Euclidean norm of the first gradient."""
    values = {"model.backbone": "resnet20", "model.attn": attn, "model.zero_init_residual": False, "seed": seed}
    recipe = read(values=values)
    images, labels = load_digits()
    torch.manual_seed(seed)
    net = model.build(recipe, InputSpec(10, (8, 8))).train()
    F.cross_entropy(net(images), labels).backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    return float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def load_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first digits of the training part, normalised, and their labels."""
    with tempfile.TemporaryDirectory() as cache:
        dataset = data.load(read().resolve_data(), cache=Path(cache))
    images = dataset.train.images[:IMAGES].float() / 255
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    return (images - mean) / std, dataset.train.labels[:IMAGES]


if __name__ == "__main__":
    main()
