"""Batches: what a step sees follows from (seed, epoch, step) alone, over any number of processes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.dataset import Dataset, Split
from attncli.data.loader import (
    BatchLayout,
    count_epoch_steps,
    draw_balanced_rows,
    iterate_eval_batches,
    iterate_train_batches,
    shuffle_rows,
)

CPU = torch.device("cpu")


def dataset(n: int = 50, frames: int | None = None, pad: int = 2, flip: bool = True) -> Dataset:
    """Noise images, 8x6; the label of an image is its row number."""
    random = torch.Generator().manual_seed(0)
    shape = (n, 8, 6, 3) if frames is None else (n, frames, 8, 6, 3)
    values = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    split = Split(values.movedim(-1, -3), torch.arange(n))
    three = (0.4, 0.5, 0.6)
    return Dataset(
        name="noise", classes=tuple(map(str, range(n))), size=(8, 6), frames=frames, mean=three, std=three,
        train=split, val=None, test=split, digest="", origin="", pad=pad, flip=flip,
    )  # fmt: skip


LAYOUT = BatchLayout(batch_size=16, device=CPU, channels_last=True)


def train(
    data: Dataset, *, seed: int = 0, epoch: int = 0, first_step: int = 0, **layout: Any
) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch; `layout` changes LAYOUT."""
    batches = iterate_train_batches(
        data.train, data, replace(LAYOUT, **layout), seed=seed, epoch=epoch, first_step=first_step
    )
    return list(batches)


def evaluation(data: Dataset, **layout: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an evaluation; `layout` changes LAYOUT."""
    return list(iterate_eval_batches(data.train, data, replace(LAYOUT, **layout)))


def same(a: list[tuple[Tensor, Tensor]], b: list[tuple[Tensor, Tensor]]) -> bool:
    """Equal to the last bit."""
    return len(a) == len(b) and all(
        torch.equal(p, q) for x, y in zip(a, b, strict=True) for p, q in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("frames", [None, 3])
def test_shapes(frames: int | None) -> None:
    """(b, 3, H, W), or (b, T, 3, H, W) for clips, with b labels; the rest of an epoch is dropped."""
    batches = train(dataset(frames=frames))
    assert len(batches) == count_epoch_steps(dataset().train, 16) == 3
    for x, y in batches:
        assert x.shape == ((16, 3, 8, 6) if frames is None else (16, 3, 3, 8, 6))
        assert y.shape == (16,)
        assert y.dtype is torch.int64


def test_an_epoch_sees_no_image_twice() -> None:
    """Labels of an epoch are distinct, and an epoch of full batches sees every image."""
    labels = torch.cat([y for _, y in train(dataset(48))])
    assert labels.sort().values.tolist() == list(range(48))


def test_images_and_labels_belong_together() -> None:
    """Without augmentation, each normalised image is that of its label."""
    data = dataset(pad=0, flip=False)
    for x, y in train(data):
        expected = (data.train.images[y].double() / 255 - torch.tensor(data.mean).double()[:, None, None]) / (
            torch.tensor(data.std).double()[:, None, None]
        )
        torch.testing.assert_close(x.double(), expected, rtol=0, atol=2e-6)


def test_the_same_seed_gives_the_same_batches() -> None:
    """Batches repeat to the last bit; another seed or epoch gives another order and other crops."""
    data = dataset()
    assert same(train(data), train(data))
    assert not torch.equal(train(data)[0][1], train(data, seed=1)[0][1])
    assert not torch.equal(train(data)[0][1], train(data, epoch=1)[0][1])


def test_crops_vary_from_step_to_step_and_epoch_to_epoch() -> None:
    """One image seen in many epochs is seen in many ways."""
    data = dataset(1)
    seen = {train(data, epoch=e)[0][0].numpy().tobytes() for e in range(20)}
    assert len(seen) > 10


def test_global_random_state_is_not_touched() -> None:
    """Going through an epoch neither draws from nor sets torch's own generator."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(dataset())
    assert torch.equal(before, torch.get_rng_state())


def test_first_step_goes_on_where_an_epoch_was_left() -> None:
    """The batches from step k on are the same whether or not the ones before were made."""
    assert same(train(dataset(), first_step=1), train(dataset())[1:])


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_together_see_the_global_batches(world: int) -> None:
    """The slices of all processes, put together, are the batches of one process, to the last bit."""
    data = dataset()
    ranks = [train(data, rank=r, world=world) for r in range(world)]
    joined = [tuple(torch.cat(part) for part in zip(*step, strict=True)) for step in zip(*ranks, strict=True)]
    assert same(joined, train(data))


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    """Ten images and batches of 16: one step of ten."""
    batches = train(dataset(10))
    assert [len(y) for _, y in batches] == [10]
    assert count_epoch_steps(dataset(10).train, 16) == 1


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [5, 32, 50])
def test_evaluation_sees_every_image_once(n: int, world: int) -> None:
    """Over all processes, every image comes exactly once, in order and not varied."""
    data = dataset(n)
    batches = [b for r in range(world) for b in evaluation(data, rank=r, world=world)]
    assert torch.cat([y for _, y in batches]).tolist() == list(range(n))
    plain = torch.cat([x for x, _ in train(replace(data, pad=0, flip=False), batch_size=n)])
    assert torch.equal(torch.cat([x for x, _ in batches])[shuffle_rows(n, 0, 0)], plain)


def test_layouts_hold_the_same_values() -> None:
    """channels_last and contiguous batches differ in memory only."""
    data = dataset()
    for (a, _), (b, _) in zip(train(data), train(data, channels_last=False), strict=True):
        assert torch.equal(a, b)
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert b.is_contiguous()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("resident", [True, False])
def test_gpu_batches_equal_cpu_batches_and_never_wait(resident: bool) -> None:
    """On a GPU, with images there or in main memory, batches are those of the CPU, made without synchronising."""
    gpu = torch.device("cuda", 0)
    data = dataset()
    source = data.to(gpu) if resident else data
    assert source.train.images.is_cuda == resident
    torch.cuda.set_sync_debug_mode("error")
    try:
        gpu_batches = train(source, device=gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (x, y), (expected, labels) in zip(gpu_batches, train(data), strict=True):
        torch.testing.assert_close(x.cpu(), expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(y.cpu(), labels)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_balanced_sampling_takes_the_same_number_of_every_class() -> None:
    """Small classes are repeated evenly, large ones shown in part; the same seed and epoch give the same rows."""
    labels = torch.tensor([0] * 30 + [1] * 9 + [3] * 2)  # class 2 has no image
    rows = draw_balanced_rows(labels, 0, 0)
    assert len(rows) == 41
    counts = labels[rows].bincount().tolist()
    assert sorted(counts) == [0, 13, 14, 14]
    repeats = rows.bincount(minlength=41)
    assert repeats[:30].max() == 1
    assert set(repeats[30:39].tolist()) == {1, 2}
    assert repeats[39:].min() >= 6
    assert torch.equal(rows, draw_balanced_rows(labels, 0, 0))
    assert not torch.equal(rows, draw_balanced_rows(labels, 0, 1))
    assert not torch.equal(rows, draw_balanced_rows(labels, 1, 0))


def test_a_run_resumes_within_a_balanced_epoch() -> None:
    """The steps that are left are those of the whole epoch."""
    data = dataset()
    data = replace(data, train=replace(data.train, labels=(torch.arange(50) > 40).long()))
    whole, rest = (
        list(iterate_train_batches(data.train, data, LAYOUT, seed=0, epoch=2, first_step=step, balanced=True))
        for step in (0, 2)
    )
    assert len(whole) == 3
    assert torch.equal(rest[0][0], whole[2][0])
    assert torch.cat([y for _, y in whole]).float().mean() > 0.4


class ByteOperations(TorchDispatchMode):
    """Collects the operations that get bytes on the device "meta"."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        if isinstance(args[0], Tensor) and args[0].is_meta and args[0].dtype == torch.uint8:
            self.names.add(func._schema.name.partition("::")[2])
        return func(*args, **(kwargs or {}))


def test_other_gpus_than_cudas_get_finished_bytes() -> None:
    """They only turn them into numbers: not every operation of crops and policies is there, or right, on each."""
    augmentation = AugmentationConfig(policy="rand", erase=0.5, mixup=0.2, cutmix=1.0)
    with ByteOperations() as seen:
        batches = train(replace(dataset(), augmentation=augmentation), device=torch.device("meta"))
    assert [(x.is_meta, x.shape, y.shape) for x, y in batches] == [(True, (16, 3, 8, 6), (16, 50))] * 3
    assert seen.names <= {"view", "_unsafe_view", "permute", "clone", "squeeze", "_to_copy", "detach"}
