"""A network ready to be timed: a copy on the device, with one batch of noise, and its steps as functions."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.data.augmentation.config import build_augmentation
from attncli.measure.paired_timing import synchronize_device
from attncli.recipe import Recipe
from attncli.train import autocast_context
from attncli.train.device import uses_channels_last
from attncli.train.loss import find_own_loss
from attncli.train.training_step import prepare_step, run_training_step

WARM_SECONDS = 0.5  # that a GPU works before it is timed


@dataclass
class TimedNetwork:
    """A network on the device, with one training step and one inference pass as functions."""

    net: nn.Module
    train: Callable[[], None]
    infer: Callable[[], None]
    memory: int | None = None  # bytes, at the peak of training


def prepare_timed_network(
    model: nn.Module,
    recipe: Recipe,
    classes: int,
    shape: tuple[int, ...],
    precision: str,
    device: torch.device,
) -> TimedNetwork:
    """Return a warmed-up copy of a network on the device; its noise batch of `shape` is the same for all networks.

    Raises UserError if the recipe cannot train the network.
    """
    torch.manual_seed(0)
    images = torch.randn(math.prod(shape[:-3]), *shape[-3:], device=device)
    if uses_channels_last(recipe.train, device):
        images = images.to(memory_format=torch.channels_last)
    images, labels = images.unflatten(0, shape[:-3]), torch.randint(classes, shape[:1], device=device)
    if build_augmentation(recipe.data).has_mixing and not find_own_loss(model, recipe.model.attn):
        labels = F.one_hot(labels, classes).float()  # the shares of the classes in a mixed image
    return _warm_up_network(model, recipe, classes, images, labels, precision)


def _warm_up_network(
    model: nn.Module, recipe: Recipe, classes: int, images: Tensor, labels: Tensor, precision: str
) -> TimedNetwork:
    device, settings = images.device, recipe.train
    bytes_before = _count_allocated_bytes(device)
    net = copy.deepcopy(model)
    class_weights = None if settings.class_weights == "none" else torch.ones(classes)
    size = (images.shape[-2], images.shape[-1])
    step = prepare_step(net, recipe, size, device, precision, class_weights=class_weights)
    numbers = count(1)

    def train_step() -> None:
        number = next(numbers)
        run_training_step(step, images, labels, learning_rate=0.0, seed=number, number=number)

    def infer_step() -> None:
        with torch.inference_mode(), autocast_context(precision, device):
            net(images)

    timed_network = TimedNetwork(net, train_step, infer_step)
    net.eval()
    infer_step()
    net.train()
    train_step()
    synchronize_device(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        train_step()  # the optimiser has its state now; not captured yet, as a captured step allocates nothing
        timed_network.memory = torch.cuda.max_memory_allocated(device) - bytes_before
        _run_until_warm(train_step, device)
    return timed_network


def _run_until_warm(step: Callable[[], None], device: torch.device) -> None:
    """Repeat a step until the GPU's clocks have risen."""
    started_at = time.perf_counter()
    while time.perf_counter() - started_at < WARM_SECONDS:
        step()
        torch.cuda.synchronize(device)


def _count_allocated_bytes(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
