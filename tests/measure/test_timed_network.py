"""The step that is timed is the step that is trained."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attncli import model
from attncli.data.augmentation.config import build_augmentation
from attncli.data.dataset import Dataset
from attncli.measure import several, throughput
from attncli.measure.timed_network import prepare_timed_network
from attncli.model import InputSpec
from attncli.recipe import Recipe, read
from attncli.train import loop
from attncli.train.distributed import init_accelerator
from attncli.train.mechanism_streams import find_drawing_mechanisms
from attncli.train.session import prepare_session
from tests.train.case import split

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
BATCH, SIDE = 8, 8
OWN = """import torch

class Attention(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x
"""


class Operations(TorchDispatchMode):
    """The operations on tensors, with the shapes and memory layouts that they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and do it."""
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        self.seen.append((func.name(), *((tuple(t.shape), t.stride()) for t in given)))
        return func(*args, **(kwargs or {}))


def make_recipe(**keys: Any) -> Recipe:
    """SE in a resnet20, and what else is given."""
    values = {"model.attn": "se", "model.backbone": "resnet20", "train.batch_size": BATCH, "train.precision": "fp32"}
    return read(values=values | keys)


def make_dataset(recipe: Recipe) -> Dataset:
    """Random images of four classes, mixed if the recipe says so."""
    images = split(2 * BATCH, 1, size=SIDE)
    return Dataset(
        name="bright", classes=tuple("abcd"), size=(SIDE, SIDE), frames=None, mean=(0.4,) * 3, std=(0.2,) * 3,
        train=images, val=None, test=images, digest="d" * 64, origin="drawn", pad=1, flip=True,
        augmentation=build_augmentation(recipe.data),
    )  # fmt: skip


def list_trained(recipe: Recipe) -> list[tuple[Any, ...]]:
    """The operations of the second step of a training, the batch apart."""
    session = prepare_session(
        model.build(recipe, InputSpec(4, (SIDE, SIDE))), make_dataset(recipe), recipe, None, None, init_accelerator()
    )
    (first, second) = loop.iterate_batches(session)
    loop.run_step(session, *first)
    with Operations() as operations:
        loop.run_step(session, *second)
    *step, _, store = operations.seen  # the loss is put among those of the epoch
    assert store[0] == "aten::copy_"
    return step


def list_timed(recipe: Recipe) -> list[tuple[Any, ...]]:
    """The operations of the second step of a timing."""
    net = model.build(recipe, InputSpec(4, (SIDE, SIDE)))
    timed = prepare_timed_network(net, recipe, 4, (BATCH, 3, SIDE, SIDE), "fp32", CPU)
    with Operations() as operations:
        timed.train()
    return operations.seen


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"train.lr_factors": {"stem": 0, "stage1": 0, "stage2": 0.1}},
        {"train.clip_norm": 1.0, "train.accumulate": 2, "train.label_smoothing": 0.1, "train.ema": 0.9},
        {"train.class_weights": "balanced", "train.channels_last": False, "train.optimizer": "adamw"},
        {"data.mixup": 0.2, "train.ema": 0.9},
    ],
    ids=["plain", "frozen", "parts", "weights", "mixed"],
)
def test_a_timed_step_does_what_a_trained_step_does(keys: dict[str, Any]) -> None:
    """The same operations on tensors of the same shapes and layouts, one after the other."""
    recipe = make_recipe(**keys)
    assert list_timed(recipe) == list_trained(recipe)


def test_mechanisms_that_draw_have_their_streams() -> None:
    """Setting them takes time on the host, in the timing as in the training."""
    recipe = make_recipe(**{"model.attn": "bat", "model.backbone": "mobilenet_v2", "model.stages": [2]})
    net = model.build(recipe, InputSpec(4, (SIDE, SIDE)))
    timed = prepare_timed_network(net, recipe, 4, (2, 3, SIDE, SIDE), "fp32", CPU)
    drawing = find_drawing_mechanisms(timed.net)
    assert drawing
    assert all(module._forward_hooks for module in drawing.values())


def test_both_networks_of_a_pair_are_frozen() -> None:
    """The baseline has the frozen parts of the network, and no attention to slow down."""
    recipe = make_recipe(**{"train.lr_factors": {"stem": 0, "attention": 0.5}})
    nets = [model.build(r, InputSpec(4, (SIDE, SIDE))) for r in (recipe, recipe.make_baseline())]
    pair = throughput.prepare_network_pair(*nets, recipe, 4, (BATCH, 3, SIDE, SIDE), "fp32", CPU)
    for timed in pair:
        frozen = {name for name, parameter in timed.net.named_parameters() if not parameter.requires_grad}
        assert frozen == {"conv1.weight", "bn1.weight", "bn1.bias"}


@pytest.mark.parametrize(("foreign", "processes", "graph"), [(False, 1, "auto"), (True, 1, False), (False, 2, False)])
def test_networks_are_timed_with_graphs_together(
    foreign: bool, processes: int, graph: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """In turn with one that has usual steps, or after a training in several processes, all have usual steps."""
    recipe, prepared = make_recipe(**{"train.graph": "auto"}), []
    others = recipe.make_baseline()
    if foreign:
        file = tmp_path / "own.py"
        file.write_text(OWN)
        others = make_recipe(**{"train.graph": "auto", "model.attn": f"{file}:Attention"})

    def prepare(net: Any, recipe: Recipe, *given: Any) -> None:
        prepared.append(recipe.train.graph)

    for module in (several, throughput):
        monkeypatch.setattr(module, "prepare_timed_network", prepare)
    if processes == 1:
        several._prepare_at_common_batch([recipe, others], InputSpec(4, (SIDE, SIDE)), "bf16", GPU)
    else:
        nets = [model.build(r, InputSpec(4, (SIDE, SIDE))) for r in (recipe, others)]
        throughput.prepare_network_pair(*nets, recipe, 4, (BATCH, 3, SIDE, SIDE), "bf16", GPU, processes)
    assert prepared == [graph] * 2
