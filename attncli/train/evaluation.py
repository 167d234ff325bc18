"""Evaluate a network on a split: every image counts exactly once, over any number of processes."""

import time

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.data.dataset import Dataset, Split
from attncli.data.loader import BatchLayout, iterate_eval_batches
from attncli.errors import RunFailedError
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.records import Evaluation
from attncli.seeds import derive_seed
from attncli.train import distributed
from attncli.train.device import uses_channels_last
from attncli.train.errors import make_out_of_memory_error, translated_torch_errors
from attncli.train.exchange_errors import translated_exchange_errors
from attncli.train.memory_fitting import fit_batch_to_memory
from attncli.train.norm_counters import move_network
from attncli.train.precision import autocast_context, resolve_precision

MIN_BATCH, MAX_BATCH_PIXELS = 256, 1 << 24  # images: at least 256 or 4 training batches, while they hold 16 M pixels
CPU_BATCH_PIXELS = 1 << 21  # 256 images of 32 px: more are not faster, and need memory


def evaluate_split(
    model: nn.Module,
    split: Split,
    dataset: Dataset,
    recipe: Recipe,
    *,
    name: str,
    accelerator: Accelerator | None = None,
) -> Evaluation:
    """Return loss (cross-entropy), top-1, top-5 and confusion matrix of `model` on `split`, recorded under `name`.

    Each process evaluates its own part and the counts are summed. With fewer than five classes top-5 is 1.
    An image whose loss is no finite number has no prediction: it counts as wrong, and the mean loss is that of the
    others. So one image on which a network overflows does not end a run, and no seed goes missing because it failed.
    Raises RunFailedError if the images counted are not those of the split, or if no image has a finite loss.
    """
    return predict_split(model, split, dataset, recipe, name=name, accelerator=accelerator)[0]


def predict_split(
    model: nn.Module,
    split: Split,
    dataset: Dataset,
    recipe: Recipe,
    *,
    name: str,
    accelerator: Accelerator | None = None,
) -> tuple[Evaluation, Tensor]:
    """Return what `evaluate_split` returns, and the predicted class of each image (N,), int64, in the split's order.

    The class is the number of classes, which is none, if the image's loss is no finite number.
    Some processes of a run may call this function and the others `evaluate_split`: both communicate alike. A process
    whose memory runs out goes on with half as many images at a time.
    """
    accelerator = accelerator or distributed.init_accelerator()
    rank, device = accelerator.process_index, distributed.resolve_device(accelerator)

    def count_in_batches(batch_size: int) -> PredictionCounts:
        distributed.seed_everything(derive_seed(recipe.seed, "evaluate", name, rank), device)
        channels_last = uses_channels_last(recipe.train, device)
        counts = PredictionCounts(len(dataset.classes), device, len(split))
        layout = BatchLayout(
            batch_size=batch_size,
            device=device,
            channels_last=channels_last,
            rank=rank,
            world=accelerator.num_processes,
        )
        count_predictions(model, split, dataset, recipe, counts, layout)
        return counts

    batch_size = choose_eval_batch_size(split, recipe.train.batch_size, device, accelerator.num_processes)
    was_training = model.training
    move_network(model, device).eval()
    started_at = time.perf_counter()
    try:
        with translated_torch_errors(recipe.train):  # it takes more images than a step, and perhaps more memory
            counts = fit_batch_to_memory(count_in_batches, min(batch_size, len(split)), device)
    finally:
        model.train(was_training)
    if counts is None:
        raise make_out_of_memory_error(recipe.train)
    with translated_exchange_errors():
        return counts.to_evaluation(name, len(split), accelerator, started_at)


@torch.inference_mode()
def count_predictions(
    model: nn.Module, split: Split, dataset: Dataset, recipe: Recipe, counts: "PredictionCounts", layout: BatchLayout
) -> None:
    """Run this process's part of the split through the network in batches, and count its predictions."""
    precision = resolve_precision(recipe.train.precision, counts.device)
    counts.next_row = layout.slice_rows(len(split)).start
    for images, labels in iterate_eval_batches(split, dataset, layout):
        with autocast_context(precision, counts.device):
            logits = model(images)
        counts.add_batch(logits.float(), labels)


def choose_eval_batch_size(split: Split, train_batch: int, device: torch.device, processes: int = 1) -> int:
    """Return the images per evaluation batch of one process; `train_batch` images are in a step of all processes.

    Without gradients several training batches fit, which keeps GPUs busy. There the batches are of equal size, up to
    one image for each batch: a last, smaller one would be another shape, for which kernels are chosen again.
    """
    pixels = split.images[0, ..., 0, :, :].numel()  # of all frames
    if device.type == "cpu":
        return max(1, min(MIN_BATCH, CPU_BATCH_PIXELS // pixels))
    own_train_batch = -(-train_batch // processes)
    largest = max(own_train_batch, min(max(MIN_BATCH, 4 * own_train_batch), MAX_BATCH_PIXELS // pixels))
    own_images = max(1, -(-len(split) // processes))
    return -(-own_images // -(-own_images // largest))


class PredictionCounts:
    """Counts of one split of `images` images, kept on the device and read once at the end.

    `next_row` is the place in the split of the next image that this process evaluates.
    """

    def __init__(self, classes: int, device: torch.device, images: int) -> None:
        self.classes = classes
        self.device = device
        # int32, as Apple's GPUs add no int64 numbers at indices before torch 2.9 (pytorch 160926)
        self.confusion = torch.zeros(classes * (classes + 1), dtype=torch.int32, device=device)  # last column: no class
        self.top5 = torch.zeros((), dtype=torch.int32, device=device)
        self.predicted = torch.zeros(images, dtype=torch.int32, device=device)  # 0 for images of other processes
        self.next_row = 0
        self.losses: list[Tensor] = []  # of each image, in batches

    def add_batch(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits (b, classes) in float32, labels (b,)."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        best = logits.topk(min(5, self.classes), dim=1).indices  # (b, 5)
        best.masked_fill_(~losses.isfinite()[:, None], self.classes)
        cells = labels * (self.classes + 1) + best[:, 0]
        self.confusion.index_add_(0, cells, torch.ones_like(cells, dtype=torch.int32))
        self.top5 += (best == labels[:, None]).sum()
        self.predicted[self.next_row : self.next_row + len(labels)] = best[:, 0]
        self.next_row += len(labels)
        self.losses.append(losses)

    def read_losses(self) -> Tensor:
        """Return the loss of each image that this process evaluated, in float64 on the CPU: not every device has it."""
        return torch.cat(self.losses).cpu().double() if self.losses else torch.zeros(0, dtype=torch.float64)

    def to_evaluation(
        self, name: str, images: int, accelerator: Accelerator, started_at: float
    ) -> tuple[Evaluation, Tensor]:
        """Return the evaluation and the predicted classes over all processes.

        `started_at` is the clock (s) at its start.
        """
        losses = self.read_losses()
        loss = distributed.sum_over_ranks(accelerator, float(losses[losses.isfinite()].sum()))
        counts = accelerator.reduce(torch.cat([self.confusion, self.top5[None], self.predicted]), "sum").cpu().long()
        cells = len(self.confusion)
        confusion, top5 = counts[:cells].view(self.classes, self.classes + 1), int(counts[cells])
        counted_images = int(confusion.sum())
        if counted_images != images:
            raise RunFailedError(
                f"{name}: {format_quantity(counted_images, 'image')} evaluated, the split has {images}",
                "this is a bug in attncli: please report it",
            )
        nonfinite = confusion[:, self.classes]
        finite_images = images - int(nonfinite.sum())
        if not finite_images:
            raise RunFailedError(
                f"{name}: the loss of each of {format_quantity(images, 'image')} is no finite number",
                "use a smaller train.lr, or, with new weights, model.zero_init_residual=true",
            )
        evaluation = Evaluation(
            split=name,
            images=images,
            loss=loss / finite_images,
            top1=int(confusion.diagonal().sum()) / images,
            top5=top5 / images,
            images_per_s=images / (time.perf_counter() - started_at),
            confusion=confusion[:, : self.classes].tolist(),
            nonfinite_by_class=nonfinite.tolist() if finite_images < images else [],
        )
        return evaluation, counts[cells + 1 :]
