"""How good a network is on a split: every image counted exactly once, over any number of processes."""

import time

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.data.batches import eval_batches
from attncli.data.dataset import Dataset, Split
from attncli.errors import RunFailedError
from attncli.recipe import Recipe
from attncli.records import Evaluation
from attncli.streams import stream
from attncli.train import process
from attncli.train.precision import autocast, resolve_precision
from attncli.train.trouble import plainly

LEAST, PIXELS = 256, 1 << 24  # images of a batch: at least 256 or 4 training batches, while they hold 16 M pixels
CPU_PIXELS = 1 << 21  # there 256 images of 32 px are as fast as any number, and memory is what training needs too


def evaluate(
    model: nn.Module,
    split: Split,
    dataset: Dataset,
    recipe: Recipe,
    *,
    name: str,
    accelerator: Accelerator | None = None,
) -> Evaluation:
    """Loss (cross-entropy), top-1, top-5 and the confusion matrix of `model` on `split`, which is called `name`.

    Each process takes its own part and the counts are summed. With fewer than five classes top-5 is 1.
    Raises RunFailedError where the images counted are not those of the split, or where the loss is no number.
    """
    accelerator = accelerator or process.start()
    rank, device = accelerator.process_index, process.device(accelerator)
    process.seed_everything(stream(recipe.seed, "evaluate", name, rank), device)
    tally = Tally(len(dataset.classes), device)
    was_training = model.training
    model.to(device).eval()
    began = time.perf_counter()
    try:
        with plainly(recipe.train):
            count(model, split, dataset, recipe, tally, rank, accelerator.num_processes)
    finally:
        model.train(was_training)
    return tally.result(name, len(split), accelerator, began)


@torch.inference_mode()
def count(
    model: nn.Module, split: Split, dataset: Dataset, recipe: Recipe, tally: "Tally", rank: int, world: int
) -> None:
    """Run this process's part of the split through the network, into the tally."""
    precision = resolve_precision(recipe.train.precision, tally.device)
    for images, labels in eval_batches(
        split,
        dataset,
        batch_size=batch_size(split, recipe.train.batch_size, tally.device),
        device=tally.device,
        channels_last=recipe.train.channels_last,
        rank=rank,
        world=world,
    ):
        with autocast(precision, tally.device):
            logits = model(images)
        tally.add(logits.float(), labels)


def batch_size(split: Split, train_batch: int, on: torch.device) -> int:
    """Images of an evaluation batch: without gradients several training batches fit at once, which GPUs need."""
    pixels = split.images[0, ..., 0, :, :].numel()  # of all frames
    if on.type == "cpu":
        return max(1, min(LEAST, CPU_PIXELS // pixels))
    return max(train_batch, min(max(LEAST, 4 * train_batch), PIXELS // pixels))


class Tally:
    """Counts kept on the device, read once at the end."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes = classes
        self.device = device
        self.confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self.top5 = torch.zeros((), dtype=torch.int64, device=device)
        self.losses: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits (b, classes) in float32, labels (b,)."""
        best = logits.topk(min(5, self.classes), dim=1).indices  # (b, 5)
        cells = labels * self.classes + best[:, 0]
        self.confusion.index_add_(0, cells, torch.ones_like(cells))
        self.top5 += (best == labels[:, None]).sum()
        self.losses.append(F.cross_entropy(logits, labels, reduction="sum"))

    def result(self, name: str, images: int, accelerator: Accelerator, began: float) -> Evaluation:
        """The figures over all processes; `began` is the clock (s) at the start. Raises RunFailedError."""
        sums = torch.stack(self.losses).double().sum() if self.losses else torch.zeros((), dtype=torch.float64)
        loss = float(accelerator.reduce(sums.to(self.device), "sum"))
        counts = accelerator.reduce(torch.cat([self.confusion, self.top5[None]]), "sum").cpu()
        confusion, top5 = counts[:-1].view(self.classes, self.classes), int(counts[-1])
        counted = int(confusion.sum())
        if counted != images:
            raise RunFailedError(f"{name}: {counted} images evaluated, the split has {images}", "please report this")
        if not torch.isfinite(torch.tensor(loss)):
            raise RunFailedError(f"{name}: the loss of the evaluation is {loss / images}", "lower train.lr")
        return Evaluation(
            split=name,
            images=images,
            loss=loss / images,
            top1=int(confusion.diagonal().sum()) / images,
            top5=top5 / images,
            images_per_s=images / (time.perf_counter() - began),
            confusion=confusion.tolist(),
        )
