"""A network ready to be timed: a copy on the device, with one batch of noise, and its steps as functions."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from attncli.measure.paired_timing import synchronize_device
from attncli.recipe import Recipe
from attncli.train import autocast_context, optim
from attncli.train.accumulation import accumulate_gradients
from attncli.train.cpu_convolutions import speed_up_convolutions
from attncli.train.device import compile_network, convert_to_channels_last, uses_channels_last
from attncli.train.loss import TrainingObjective
from attncli.train.norm_counters import keep_norm_counters_on_host
from attncli.train.parameter_groups import group_parameters
from attncli.train.step_graph import make_step_graph

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
    """Return a warmed-up copy of a network on the device; its noise batch of `shape` is the same for all networks."""
    torch.manual_seed(0)
    images = torch.randn(math.prod(shape[:-3]), *shape[-3:], device=device)
    if uses_channels_last(recipe.train, device):
        images = images.to(memory_format=torch.channels_last)
    images, labels = images.unflatten(0, shape[:-3]), torch.randint(classes, shape[:1], device=device)
    return _warm_up_network(model, recipe, recipe.model.attn, images, labels, precision)


def _warm_up_network(
    model: nn.Module, recipe: Recipe, attn: str, images: Tensor, labels: Tensor, precision: str
) -> TimedNetwork:
    device, settings = images.device, recipe.train
    bytes_before = _count_allocated_bytes(device)
    net = copy.deepcopy(model).to(device).train()
    if uses_channels_last(settings, device):
        convert_to_channels_last(net)
    keep_norm_counters_on_host(net, settings.compile)
    speed_up_convolutions(net, device, precision)
    compile_network(net, settings)
    objective = TrainingObjective(net, smoothing=settings.label_smoothing, precision=precision, device=device)
    optimizer = optim.build_optimizer(group_parameters(net, settings, attn), settings, device)
    optim.set_learning_rate(optimizer, 0.0)
    scaler = GradScaler(device.type, enabled=precision == "fp16")

    def update_weights(images: Tensor, labels: Tensor) -> Tensor:
        loss = accumulate_gradients(objective, images, labels, scaler, min(settings.accumulate, len(images)))
        if settings.clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), settings.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return loss

    step_graph = make_step_graph(recipe, net, optimizer, device, precision)

    def train_step() -> None:
        if step_graph:
            step_graph.run(update_weights, images, labels)
        else:
            update_weights(images, labels)

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
