"""A training step as one CUDA graph (`train.graph`), which the host starts at once and not kernel by kernel.

The first steps of a training run as usual, on a side stream, so that kernels are chosen and the optimiser has its
state. The next one is captured with tensors that stay in place: images and labels are copied into them before each
replay, and so is the learning rate. Random numbers are those of the same seed without a graph, because torch fills
each replay with the state of the generator. What the host decides within a step (Python's random numbers, conditions on
values, copies from the host) would be repeated unchanged. The mechanisms of attncli have nothing of that kind, except
that one may draw from a stream of its own (`attncli.train.mechanism_streams`): such a network has usual steps.

This has not been run on a GPU: `python -m tests.device.gpu_check --only graph` compares it with usual steps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
import torchvision
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.ops import DeformConv2d

from attncli import attention
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.system.code_reference import is_code_reference, split_combination
from attncli.train import optim
from attncli.train.device import is_release_from
from attncli.train.errors import is_out_of_memory
from attncli.train.mechanism_streams import find_drawing_mechanisms
from attncli.train.norm_counters import find_host_counters, read_counters

WARMUP_STEPS = 3
# The first release of torchvision that is known to start a deformable convolution on the current stream: earlier ones
# take the default stream (pytorch/vision 9513), so a graph would lack its kernels.
CURRENT_STREAM = (0, 29)
Step = Callable[[Tensor, Tensor], Tensor]  # images and labels to the loss, a number on the device


class CaptureBackend(Protocol):
    """What captures work on a device."""

    def run_aside(self, work: Callable[[], Tensor]) -> Tensor:
        """Run work on a side stream, in order with what comes before and after, and return its result."""

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Return a function that repeats the work and returns its result; nothing runs yet."""


class CudaCapture:
    """Captures work with torch's CUDA graphs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None

    def run_aside(self, work: Callable[[], Tensor]) -> Tensor:
        """Run work on a side stream, in order with what comes before and after, and return its result."""
        current, self._stream = torch.cuda.current_stream(self._device), self._stream or torch.cuda.Stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Return a function that replays the work. Other threads may go on to use the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


class StepGraph:
    """Runs the steps of a training: the first ones as usual, then the captured one. Batches have one shape."""

    def __init__(
        self, net: nn.Module, optimizer: Optimizer, device: torch.device, backend: CaptureBackend | None = None
    ) -> None:
        """Move the optimiser's learning rates to the device; `backend` is by default CUDA's."""
        optim.hold_learning_rates(optimizer, device)
        self._net, self._optimizer = net, optimizer
        self._backend = backend or CudaCapture(device)
        self._steps = 0
        self._images: Tensor | None = None
        self._labels: Tensor | None = None
        self._replay: Callable[[], Tensor] | None = None
        self._counters: list[Tensor] = []  # in main memory, which no replay changes
        self._increments: list[int] = []  # of each, per step

    def run(self, step: Step, images: Tensor, labels: Tensor) -> Tensor:
        """Do one step and return its loss, which the next step overwrites.

        Raises RunFailedError if the step cannot be captured.
        """
        self._steps += 1
        if self._steps <= WARMUP_STEPS:
            return self._backend.run_aside(partial(step, images, labels))
        if self._images is None or self._labels is None:
            self._images, self._labels = torch.empty_like(images), torch.empty_like(labels)
        self._images.copy_(images)
        self._labels.copy_(labels)
        if self._replay is None:
            self._replay = self._capture(partial(step, self._images, self._labels))
        elif self._counters:
            torch._foreach_add_(self._counters, self._increments)
        return self._replay()

    def discard(self) -> None:
        """Forget the captured step at the end of an epoch, so that the next epoch captures its own.

        It costs the host's part of one usual step. A graph that stays would keep all memory of its step from the
        evaluation, which cannot allocate in the graph's pool and takes several batches at a time; the peak memory of
        an epoch would miss that of its steps, as a replay allocates nothing; and what a module's `anneal` sets in
        Python would stay that of the first epoch.
        """
        self._replay = None

    def _capture(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        optim.allow_capture(self._optimizer)
        self._counters = find_host_counters(self._net)
        before = read_counters(self._counters)
        try:
            replay = self._backend.capture(work)
        except RuntimeError as error:
            first_error = find_first_error(error)
            if is_out_of_memory(first_error):
                raise first_error from None
            first_line = (str(first_error).strip().splitlines() or [type(first_error).__name__])[0]
            raise RunFailedError(
                f"train.graph: the training step cannot be captured: {first_line}", "set train.graph=off"
            ) from error
        after = read_counters(self._counters)  # a capture runs the host's part of the step once
        self._increments = [count - earlier for count, earlier in zip(after, before, strict=True)]
        return replay


def find_first_error(error: RuntimeError) -> RuntimeError:
    """Return the error by which a capture failed: its end raises another one, which says only that it did."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error


def make_step_graph(
    recipe: Recipe, net: nn.Module, optimizer: Optimizer, device: torch.device, precision: str, processes: int = 1
) -> StepGraph | None:
    """Return what runs the steps of a training, or None if they run as usual.

    `train.graph=auto` has a graph if nothing is in the way. Raises UserError if something is, with `train.graph=on`.
    """
    if recipe.train.graph is False or not check_graph(recipe, device, precision, processes, net):
        return None
    return StepGraph(net, optimizer, device)


def check_graph(
    recipe: Recipe, device: torch.device, precision: str, processes: int = 1, net: nn.Module | None = None
) -> bool:
    """Return whether nothing is in the way of a graph; the network is asked too if it is given.

    Raises UserError if something is, with `train.graph=on`.
    """
    obstacle = find_graph_obstacle(recipe, device, precision, processes, net)
    if obstacle and recipe.train.graph is True:
        raise UserError(f"train.graph=on: {obstacle}", "set train.graph=auto or off")
    return not obstacle


def agree_on_steps(
    recipes: Sequence[Recipe], nets: Sequence[nn.Module], device: torch.device, precision: str, processes: int = 1
) -> list[Recipe]:
    """Return recipes whose networks are timed against each other, so that either all have graphs or none has.

    With `train.graph=auto` an obstacle in one of the networks takes the graph from all of them, and so do several
    processes that train them: their steps have no graph.
    """
    pairs = zip(recipes, nets, strict=True)
    if not any(find_graph_obstacle(recipe, device, precision, processes, net) for recipe, net in pairs):
        return list(recipes)
    usual_steps = {"graph": False}
    return [
        recipe.model_copy(update={"train": recipe.train.model_copy(update=usual_steps)})
        if recipe.train.graph == "auto"
        else recipe
        for recipe in recipes
    ]


def describe_usual_steps(recipe: Recipe, net: nn.Module, device: torch.device, precision: str, processes: int) -> str:
    """Return a line that says why `train.graph=auto` has no graph; "" if it has one, or was not asked for."""
    obstacle = find_graph_obstacle(recipe, device, precision, processes, net) if recipe.train.graph == "auto" else ""
    return f"train.graph=auto: usual steps, no graph: {obstacle}" if obstacle else ""


def find_graph_obstacle(
    recipe: Recipe, device: torch.device, precision: str, processes: int = 1, net: nn.Module | None = None
) -> str:
    """Return why a training step cannot be a CUDA graph, or "" if nothing is known to be in the way."""
    train = recipe.train
    if device.type != "cuda":
        return f"a CUDA graph needs a CUDA device, and this run is on '{device.type}'"
    if processes > 1:
        return f"the exchange between {processes} processes is not captured"
    if precision == "fp16":
        return "the loss scale of fp16 is decided on the host"
    if train.compile:
        return "train.compile has graphs of its own (train.compile=reduce-overhead)"
    if train.graph == "auto" and (own := _name_foreign_code(recipe)):
        return f"what the code of {own} decides on the host is not known"
    if net is not None and (paths := find_drawing_mechanisms(net)):
        return f"the mechanism at {next(iter(paths))} draws from a stream of its own, which the host sets in each step"
    if net is not None and not is_release_from(torchvision.__version__, CURRENT_STREAM) and _has_deformable_layer(net):
        return f"torchvision {torchvision.__version__} starts deformable convolutions where no graph sees them"
    return ""


def _has_deformable_layer(net: nn.Module) -> bool:
    """Return whether a network has a deformable convolution of torchvision's."""
    layers = (DeformConv2d, attention.load("dcn").Attention)
    return any(isinstance(module, layers) for module in net.modules())


def _name_foreign_code(recipe: Recipe) -> str:
    """Return the first of a recipe's mechanisms and backbone that is a user's file or of another package, or ""."""
    model = recipe.model
    plugins = [part for part in split_combination(model.attn) if attention.is_plugin(part)]
    return (plugins + [model.backbone] * is_code_reference(model.backbone) + [""])[0]
