"""The speed of a recipe's network, from the file of speeds or measured now."""

from pathlib import Path

import pytest

from attncli import model, recipe
from attncli.measure.throughput import cached_throughput
from attncli.model import InputSpec

KEYS = ["model.backbone=resnet20", "train.batch_size=16", "measure.seconds=0.2", "measure.repeats=3"]


@pytest.mark.parametrize(("attn", "itself"), [("none", True), ("eca", False)])
def test_the_plain_network_is_as_fast_as_itself(attn: str, itself: bool, tmp_path: Path) -> None:
    """Its ratios are exactly 1, those of a variant are what the clock says; the file keeps either."""
    one = recipe.read(None, [*KEYS, f"model.attn={attn}"])
    shape = InputSpec(classes=10, size=(8, 8), frames=None)
    nets = model.build(one, shape), lambda: model.build(one.make_baseline(), shape)
    speeds = [cached_throughput(one, *nets, shape.classes, shape.size, shape.frames, runs=tmp_path) for _ in range(2)]
    assert speeds[0] == speeds[1]
    assert ({speeds[0].train_ratio, speeds[0].infer_ratio_low, speeds[0].train_ratio_high} == {1.0}) is itself
    assert speeds[0].train_images_per_s > 0
