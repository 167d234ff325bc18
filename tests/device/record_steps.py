"""Whole training steps and evaluations on a simulated device, recorded in a process of its own.

With a backward pass where the stub of the CUDA runtime can be used (`cuda_runtime_stub.py`), else forward only.
`python -m tests.device.record_steps` writes `launches.json` again, after a change that was meant.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from attncli import attention, model
from attncli.data.augmentation.config import build_augmentation
from attncli.data.dataset import Dataset, Split
from attncli.recipe import Recipe, read
from attncli.run.naming import make_input_spec
from attncli.train import loop, step_graph, sync_batch_norm, training_step
from attncli.train.evaluation import evaluate_split
from attncli.train.profiling import repeat_first_epoch
from attncli.train.session import TrainingSession, prepare_session
from tests.device import cuda_runtime_stub
from tests.device.simulated_device import simulated_device

BATCH, SIDE = 8, 32
LAUNCHES = Path(__file__).with_name("launches.json")
Ledgers = dict[str, dict[str, dict[str, int]]]
# Beside every mechanism in one block of resnet20: recipes whose steps differ from the plain one's.
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {"train.precision": "fp32"},
    "fp16": {"train.precision": "fp16", "train.clip_norm": 1.0, "train.ema": 0.99},
    "fp16 at first": {"train.precision": "fp16"},
    "adamw": {"train.optimizer": "adamw", "train.label_smoothing": 0.1},
    "contiguous": {"train.channels_last": False},
    "mixing": {"data.mixup": 0.2, "data.cutmix": 1.0},
    "erasing": {"data.erase": 0.5},
    "rand": {"data.policy": "rand"},
    "trivial": {"data.policy": "trivial"},
    "graph": {"train.graph": True},
}


def make_recipe(attn: str = "none", **keys: Any) -> Recipe:
    """Return a recipe with the mechanism in the first block of resnet20, or where a whole network has it."""
    values = {"model.attn": attn, "model.backbone": "resnet20", "train.batch_size": BATCH, "train.precision": "bf16"}
    if attn != attention.NONE and attention.describe_mechanism(attn).card.site not in ("model", "frames-head"):
        values |= {"model.stages": [1], "model.blocks": [1]}
    return read(values=values | keys)


def make_dataset(recipe: Recipe) -> Dataset:
    """Return black images, or clips for mechanisms that work on frames; the draws of a step are real."""
    attn = recipe.model.attn
    is_temporal = attn != attention.NONE and attention.describe_mechanism(attn).card.site.startswith("frames")
    shape = (4, 3, SIDE, SIDE) if is_temporal else (3, SIDE, SIDE)

    def make_split(count: int) -> Split:
        return Split(torch.zeros(count, *shape, dtype=torch.uint8), torch.arange(count) % 10)

    return Dataset(
        name="black", classes=tuple("abcdefghij"), size=(SIDE, SIDE), frames=4 if is_temporal else None,
        mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2), train=make_split(2 * BATCH), val=None, test=make_split(BATCH),
        digest="0" * 64, origin="made", pad=4, flip=True, augmentation=build_augmentation(recipe.data),
    )  # fmt: skip


def shorten(net: nn.Module) -> nn.Module:
    """Leave one block in each stage of a resnet20, so that a step takes a third of the time."""
    for name in ("layer1", "layer2", "layer3"):
        stage = getattr(net, name, None)
        if isinstance(stage, nn.Sequential):
            setattr(net, name, stage[:1])
    return net


def has_backward() -> bool:
    """Return whether autograd runs a backward pass on the simulated device."""
    return torch.version.cuda is not None and torch.cuda.device_count() == 1


def run_step(session: TrainingSession, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], backward: bool) -> None:
    """Do one step, of which only the forward pass where nothing else can be done."""
    images, labels = next(batches)
    if backward:
        loop.run_step(session, images, labels)
    else:
        session.step.objective(images, labels)


class SimulatedCapture:
    """In place of a CUDA graph: the work of a step is done again, with the same tensors."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def run_aside(self, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Run it on the only stream."""
        return work()

    def capture(self, work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        """Return the work."""
        return work


def record(recipe: Recipe, *, earlier_steps: int = 0, backward: bool = True) -> Ledgers:
    """Return what is seen in a step of a training after `earlier_steps`, data included, and in an evaluation."""
    dataset = make_dataset(recipe)
    net = shorten(model.build(recipe, make_input_spec(dataset)))
    with simulated_device() as (mode, accelerator), mock.patch.object(step_graph, "CudaCapture", SimulatedCapture):
        session = prepare_session(net, dataset, recipe, None, None, accelerator)
        batches = chain(loop.iterate_batches(session), repeat_first_epoch(session))
        for _ in range(earlier_steps):
            run_step(session, batches, backward)
        mode.ledger.clear()
        run_step(session, batches, backward)
        step = mode.ledger.to_dict()
        mode.ledger.clear()
        try:
            evaluate_split(net, session.dataset.test, session.dataset, recipe, name="test", accelerator=accelerator)
        except Exception as error:
            if "images evaluated" not in str(error):  # no numbers, so the counts are wrong
                raise
        return {"step": step, "evaluation": mode.ledger.to_dict()}


def record_one_of_four(recipe: Recipe, backward: bool) -> Ledgers:
    """Return what is seen in a step of one of four processes; the exchanges between them do nothing."""
    gathers = ("all_gather_single", "all_gather_into_tensor")  # a release of torch may have one of them
    exchanges = {"get_world_size": lambda: 4, "all_reduce": _ignore} | dict.fromkeys(gathers, _ignore)
    with ExitStack() as stack:
        for name, exchange in exchanges.items():
            stack.enter_context(mock.patch.object(sync_batch_norm.dist, name, exchange, create=True))
        stack.enter_context(mock.patch.object(training_step, "synced_batch_norm", _sync_four))
        return record(recipe, backward=backward)


def _sync_four(processes: int) -> AbstractContextManager[Any]:
    """Synchronise batch norm as one of four processes, whatever their number is."""
    return sync_batch_norm.synced_batch_norm(4)


def _ignore(*tensors: torch.Tensor) -> None:
    """Exchange nothing."""


def record_all(backward: bool) -> dict[str, Ledgers]:
    """Return the records of every mechanism and variant."""
    names = (attention.NONE, *attention.mechanism_names())
    records = {name: record(make_recipe(name), backward=backward) for name in names}
    for name, keys in VARIANTS.items():
        recipe = make_recipe(**keys)
        earlier_steps = step_graph.WARMUP_STEPS if recipe.train.graph else int("at first" not in name)
        records[name] = record(recipe, earlier_steps=earlier_steps, backward=backward)
    if backward:
        records["one of four"] = record_one_of_four(make_recipe(), backward)
    return records


def record_in_process(folder: Path) -> dict[str, Any]:
    """Return whether there were backward passes, and the records, made by another process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not cuda_runtime_stub.find_obstacle():
        environment = cuda_runtime_stub.make_environment(folder)
    command = [sys.executable, "-m", "tests.device.record_steps", "--print"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return json.loads(done.stdout)


def count_launches(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return what `launches.json` holds: the release of torch, and for each record the launches of a step."""
    launches = {name: sum(ledgers["step"]["launches"].values()) for name, ledgers in recorded["records"].items()}
    return {"torch": torch.__version__.partition("+")[0], "launches": launches}


def main() -> None:
    """Print the records of this process, or write the file of launches."""
    if sys.argv[1:] == ["--print"]:
        torch.set_num_threads(1)
        backward = has_backward()
        json.dump({"backward": backward, "records": record_all(backward)}, sys.stdout)
        return
    if obstacle := cuda_runtime_stub.find_obstacle():
        raise SystemExit(f"launches of whole steps cannot be counted here: {obstacle}")
    with tempfile.TemporaryDirectory() as folder:
        counted = count_launches(record_in_process(Path(folder)))
    LAUNCHES.write_text(json.dumps(counted, indent=1) + "\n")


if __name__ == "__main__":
    main()
