"""Policies, erasing, mixing and resized crops: drawn for each image, the same for any number of processes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as known

from attncli.data.augmentation import ops
from attncli.data.augmentation.auto_augment import (
    OperationDraw,
    apply_operations,
    draw_operations,
    tabulate_magnitudes,
)
from attncli.data.augmentation.boxes import draw_boxes, draw_erased_boxes, erase_boxes
from attncli.data.augmentation.config import AugmentationConfig
from attncli.data.augmentation.crop_flip import Normaliser
from attncli.data.augmentation.mixup_cutmix import draw_mix, mix_images
from attncli.data.augmentation.random_resized_crop import draw_resized_crops
from attncli.data.dataset import Dataset, Split
from attncli.data.images.arrays import wrap_tensor
from attncli.data.images.decode import crop_and_resize
from attncli.data.loader import BatchLayout, iterate_train_batches

CPU = torch.device("cpu")
KINDS = {
    "resized": AugmentationConfig(crop="resized"),
    "rand": AugmentationConfig(policy="rand"),
    "trivial": AugmentationConfig(policy="trivial"),
    "erase": AugmentationConfig(erase=0.6),
    "mixup": AugmentationConfig(mixup=0.4),
    "cutmix": AugmentationConfig(cutmix=1.0),
    "all": AugmentationConfig(crop="resized", policy="rand", erase=0.5, mixup=0.4, cutmix=1.0),
}
each_kind = pytest.mark.parametrize("vary", KINDS.values(), ids=KINDS.keys())


def dataset(vary: AugmentationConfig, n: int = 40, frames: int | None = None) -> Dataset:
    """Noise images, 12x10, of which resized crops may be taken; the class of an image is its row number."""
    random = torch.Generator().manual_seed(0)
    shape = (n, 12, 10, 3) if frames is None else (n, frames, 12, 10, 3)
    pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    split = Split(pixels.movedim(-1, -3), torch.arange(n))
    if vary.crop == "resized":
        split = Split(split.images[:0], split.labels, wrap_tensor(pixels, ""))
    three = (0.5, 0.5, 0.5)
    return Dataset(
        name="noise", classes=tuple(map(str, range(n))), size=(12, 10), frames=frames, mean=three, std=three,
        train=split, val=None, test=split, digest="", origin="", pad=1, flip=True, augmentation=vary,
    )  # fmt: skip


def batches(
    data: Dataset, *, rank: int = 0, world: int = 1, seed: int = 0, epoch: int = 0, first_step: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch as one process sees them."""
    layout = BatchLayout(batch_size=12, device=CPU, channels_last=True, rank=rank, world=world)
    return list(iterate_train_batches(data.train, data, layout, seed=seed, epoch=epoch, first_step=first_step))


def same(a: list[tuple[Tensor, Tensor]], b: list[tuple[Tensor, Tensor]]) -> bool:
    """Equal to the last bit."""
    pairs = zip((t for step in a for t in step), (t for step in b for t in step), strict=True)
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in pairs)


@each_kind
def test_batches_follow_from_seed_epoch_and_step(vary: AugmentationConfig) -> None:
    """The same call gives the same bits, also from a later step on; another seed or epoch gives others."""
    data = dataset(vary)
    whole = batches(data)
    assert same(batches(data), whole)
    assert same(batches(data, first_step=2), whole[2:])
    assert not torch.equal(batches(data, seed=1)[0][0], whole[0][0])
    assert not torch.equal(batches(data, epoch=1)[0][0], whole[0][0])
    assert whole[0][0].is_contiguous(memory_format=torch.channels_last)


@each_kind
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_the_global_batch(vary: AugmentationConfig, world: int) -> None:
    """The parts of all processes, put together, are the batches of one, partners from elsewhere included."""
    data = dataset(vary)
    ranks = [batches(data, rank=r, world=world) for r in range(world)]
    joined = [tuple(torch.cat(part) for part in zip(*step, strict=True)) for step in zip(*ranks, strict=True)]
    assert same(joined, batches(data))


@each_kind
def test_global_random_state_is_not_touched(vary: AugmentationConfig) -> None:
    """Neither torch's nor NumPy's own generators are drawn from."""
    torch.manual_seed(7)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(dataset(vary))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])


@pytest.mark.parametrize("name", ["rand", "trivial", "erase", "mixup", "cutmix"])
def test_order_and_crops_stay_as_they_are(name: str) -> None:
    """A policy, erasing or mixing changes neither which images a step sees nor how they are cropped."""
    plain, varied = dataset(AugmentationConfig()), dataset(KINDS[name])
    for (x, y), (other, shares) in zip(batches(plain), batches(varied), strict=True):
        labels = shares if shares.ndim == 1 else shares.argmax(1)
        untouched = [i for i in range(len(x)) if torch.equal(x[i], other[i])]
        assert set(labels.tolist()) <= set(y.tolist())
        assert untouched or name != "erase"


@pytest.mark.parametrize("frames", [3])
def test_frames_of_a_clip_are_varied_alike(frames: int) -> None:
    """A clip of one image repeated stays one image repeated."""
    data = dataset(AugmentationConfig(policy="rand", erase=0.9, cutmix=1.0), frames=frames)
    first = data.train.images[:, :1].expand(-1, frames, -1, -1, -1)
    data = replace(data, train=Split(first.contiguous(), data.train.labels))
    for x, _ in batches(data):
        assert x.shape[1] == frames
        assert all(torch.equal(x[:, 0], x[:, t]) for t in range(frames))


class RefusedOperation(TorchDispatchMode):
    """A context in which an operation raises an error."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run any other operation."""
        assert self.name not in func._schema.name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("operation", ops.OPS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("product", ["affine_grid", "mm", "conv"])
def test_no_operation_is_a_matrix_product(operation: ops.Op, product: str) -> None:
    """With tf32, CUDA rounds what products and convolutions multiply: pixels would come from other places."""
    with RefusedOperation(product):
        operation(torch.full((2, 3, 8, 8), 7.0), torch.tensor([0.3, 1.0]))


REFERENCE = {
    "shear_x": lambda i, v: known.affine(i, 0.0, [0, 0], 1.0, [math.degrees(math.atan(v)), 0.0], center=[0, 0]),
    "shear_y": lambda i, v: known.affine(i, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(v))], center=[0, 0]),
    "translate_x": lambda i, v: known.affine(i, 0.0, [int(v * 20), 0], 1.0, [0.0, 0.0]),
    "translate_y": lambda i, v: known.affine(i, 0.0, [0, int(v * 20)], 1.0, [0.0, 0.0]),
    "rotate": lambda i, v: known.rotate(i, v * 100),
    "brightness": lambda i, v: known.adjust_brightness(i, 1 + v),
    "colour": lambda i, v: known.adjust_saturation(i, 1 + v),
    "contrast": lambda i, v: known.adjust_contrast(i, 1 + v),
    "sharpness": lambda i, v: known.adjust_sharpness(i, 1 + v),
    "posterize": lambda i, v: known.posterize(i, round(v * 4) + 4),
    "solarize": lambda i, v: known.solarize(i, (v + 0.5) * 255),
    "autocontrast": lambda i, v: known.autocontrast(i),
    "equalize": lambda i, v: known.equalize(i),
}
SCALE = {
    "translate_x": lambda v: v * 20, "translate_y": lambda v: v * 20, "rotate": lambda v: v * 100,
    "posterize": lambda v: (v * 4).round() + 4, "solarize": lambda v: (v + 0.5) * 255,
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE)
def test_operations_are_those_of_torchvision(name: str) -> None:
    """Each image of a batch, each with its own value, is what torchvision makes of it (up to rounding)."""
    random = torch.Generator().manual_seed(1)
    coarse = torch.rand(4, 3, 6, 5, generator=random)
    x = torch.nn.functional.interpolate(coarse, (24, 30), mode="bicubic").clamp(0, 1).mul(255).round()
    value = torch.tensor([0.31, -0.27, 0.0, 0.47])
    got = getattr(ops, name)(x, SCALE.get(name, lambda v: v)(value))
    for image, out, v in zip(x.to(torch.uint8), got, value.tolist(), strict=True):
        difference = (out - REFERENCE[name](image, v).float()).abs()
        assert (difference > 1).float().mean() < 0.002


def test_sharpness_is_exact_on_every_device() -> None:
    """No convolution: CUDA's would round to TF32, and be chosen anew for each number of images that are sharpened."""
    random = torch.Generator().manual_seed(1)
    x = torch.randint(256, (3, 3, 20, 20), generator=random).float()
    value = torch.tensor([-0.9, 0.3, 0.9])
    with RefusedOperation("convolution"):
        got = ops.sharpness(x, value)
    weights = torch.ones(3, 1, 3, 3, dtype=torch.float64)
    weights[:, :, 1, 1] = 5
    smooth = x.double()
    smooth[..., 1:-1, 1:-1] = (torch.nn.functional.conv2d(x.double(), weights, groups=3) / 13).round()
    expected = (x + value[:, None, None, None] * (x - smooth.float())).clamp(0, 255).floor()
    assert torch.equal(got, expected)


def test_the_table_of_magnitudes_is_torchvisions() -> None:
    """At the ends of both tables stand the values of the papers' code."""
    names = [f.__name__ for f in ops.OPS]
    rand, wide = tabulate_magnitudes(224, 320, wide=False), tabulate_magnitudes(224, 320, wide=True)
    ends = {
        "shear_x": (0.3, 0.99), "translate_x": (150 / 331 * 320, 32.0), "rotate": (30.0, 135.0), "colour": (0.9, 0.99),
        "posterize": (4.0, 2.0), "solarize": (0.0, 0.0), "equalize": (0.0, 0.0),
    }  # fmt: skip
    for name, (narrow, broad) in ends.items():
        assert rand[names.index(name), -1].item() == pytest.approx(narrow)
        assert wide[names.index(name), -1].item() == pytest.approx(broad)
    assert rand[names.index("posterize"), 0] == 8
    assert rand[names.index("solarize"), 0] == 255


def test_each_image_has_its_own_operation() -> None:
    """All 14 operations are equally frequent in a batch, signed ones in both directions (5 standard errors)."""
    n = 20_000
    [layer] = draw_operations(n, 32, 32, AugmentationConfig(policy="trivial"), 0)
    share = layer.op.bincount(minlength=14).double() / n
    assert (share - 1 / 14).abs().max() < 5 * (1 / 14 / n) ** 0.5
    signed = layer.value[(layer.op == 5) & (layer.value != 0)]
    assert abs((signed > 0).double().mean() - 0.5) < 5 * 0.5 / len(signed) ** 0.5
    assert len(draw_operations(4, 32, 32, AugmentationConfig(policy="rand", ops=3), 0)) == 3


def test_a_policy_leaves_the_dataset_as_it_is() -> None:
    """Operations never write into the images they are given."""
    x = torch.randint(0, 256, (6, 1, 8, 8, 3), dtype=torch.uint8)
    before = x.clone()
    out = apply_operations(x, [OperationDraw(torch.tensor([0, 6, 11, 11, 6, 0]), torch.full((6,), 0.5))])
    assert torch.equal(x, before)
    assert torch.equal(out[0], x[0])
    assert not torch.equal(out[1], x[1])


def test_erased_boxes() -> None:
    """A share of the images has a box of 2 to 33 % of the area set to the mean; the others are as they were."""
    boxes = draw_erased_boxes(4000, 32, 32, 0.25, 0)
    area = (boxes.height * boxes.width).double() / 32**2
    erased = boxes.height > 0
    assert abs(erased.double().mean() - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
    assert area[erased].min() > 0.01
    assert area[erased].max() < 0.35
    x = torch.ones(4000, 3, 32, 32)
    out = erase_boxes(x, boxes)
    assert torch.equal(out.sum((1, 2, 3)), 3 * (32**2 - area * 32**2).float())


def test_boxes_lie_within_their_images() -> None:
    """Every box fits its image, and their areas and ratios fill the ranges asked for."""
    height, width = torch.full((3000,), 60), torch.full((3000,), 80)
    boxes, fits = draw_boxes(height, width, (0.08, 1.0), (3 / 4, 4 / 3), torch.Generator().manual_seed(0))
    assert fits.double().mean() > 0.99
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.top + boxes.height <= 60).all()
    assert (boxes.left + boxes.width <= 80).all()
    share = (boxes.height * boxes.width).double() / 4800
    assert share.min() < 0.1
    assert share.max() > 0.95
    assert len(set(share.tolist())) > 500


def test_an_image_that_no_box_fits_is_shown_in_the_middle() -> None:
    """Of an image 100 times as wide as high, the centre is taken at the widest ratio allowed."""
    one = torch.tensor([6]), torch.tensor([600])
    boxes, fits = draw_boxes(*one, (0.9, 1.0), (3 / 4, 4 / 3), torch.Generator().manual_seed(0))
    assert not fits.any()
    assert [int(v) for v in (boxes.top, boxes.left, boxes.height, boxes.width)] == [0, 296, 6, 8]


def test_a_resized_crop_is_the_box_resized() -> None:
    """A batch of crops is, image by image, the box that was drawn, resized by Pillow and mirrored."""
    data = dataset(AugmentationConfig(crop="resized"))
    [(x, labels), *_] = batches(data)
    pictures = data.train.whole_images
    assert pictures is not None
    from attncli.seeds import derive_seed

    drawn = draw_resized_crops(
        pictures.height[labels], pictures.width[labels], 0.08, True, derive_seed(0, "augment", 0, 0), data.size
    )
    for i, row in enumerate(labels.tolist()):
        box = drawn.boxes
        expected = crop_and_resize(
            pictures.read(row),
            (int(box.top[i]), int(box.left[i]), int(box.height[i]), int(box.width[i])), (12, 10), bool(drawn.flip[i]),
        )  # fmt: skip
        plain = Normaliser(data.mean, data.std, 10, clips=False, channels_last=True, device=CPU)
        assert torch.equal(x[i], plain(torch.from_numpy(expected.copy())[None, None])[0])


@pytest.mark.parametrize(
    "vary", [AugmentationConfig(mixup=0.5), AugmentationConfig(cutmix=1.0), AugmentationConfig(mixup=0.5, cutmix=1.0)]
)
def test_every_image_has_a_share_of_its_own(vary: AugmentationConfig) -> None:
    """Shares, boxes and partners differ within a batch, and everybody is somebody's partner."""
    drawn = draw_mix(64, 32, 32, vary, 0)
    assert len(set(drawn.share.tolist())) > 30
    assert sorted(drawn.partner.tolist()) == list(range(64))
    boxed = drawn.boxes.height > 0
    assert bool(boxed.any()) == bool(vary.cutmix)
    if vary.mixup and vary.cutmix:
        assert 10 < int(boxed.sum()) < 54


def test_mixed_images_and_labels_by_hand() -> None:
    """Each image is its own share of itself and its partner, pixel by pixel, and so is its label."""
    x, labels = torch.rand(16, 3, 8, 8), torch.arange(16) % 5
    drawn = draw_mix(16, 8, 8, AugmentationConfig(mixup=0.8, cutmix=1.0), 3)
    got, shares = mix_images(x, labels, drawn, torch.arange(16), drawn.partner, 5)
    for i in range(16):
        j, q, box = int(drawn.partner[i]), float(drawn.share[i]), drawn.boxes.select_rows(slice(i, i + 1))
        expected = q * x[i] + (1 - q) * x[j]
        if box.height > 0:
            rows = slice(int(box.top), int(box.top + box.height))
            columns = slice(int(box.left), int(box.left + box.width))
            expected = x[i].clone()
            expected[:, rows, columns] = x[j, :, rows, columns]
            assert q == pytest.approx(1 - int(box.height) * int(box.width) / 64)
        torch.testing.assert_close(got[i], expected)
        wanted = torch.zeros(5)
        wanted[labels[i]] += q
        wanted[labels[j]] += 1 - q
        torch.testing.assert_close(shares[i], wanted)
