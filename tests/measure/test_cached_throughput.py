"""The speed of a recipe's network, from the file of speeds or measured now."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from attncli import model, recipe
from attncli.measure import throughput
from attncli.measure.environment import describe_machine
from attncli.measure.throughput import cached_throughput
from attncli.model import InputSpec
from tests.measure.test_speed_cache import SPEED

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


@pytest.mark.parametrize("gpu", ["NVIDIA H200", None])
def test_each_device_of_a_machine_has_its_speed(
    gpu: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `--device cpu` was timed with is not told as the speed of the GPU; without one the CPU is the machine."""
    one = recipe.read(None, [*KEYS, "train.precision=fp32"])
    machine = {**describe_machine(), "gpu": gpu}
    monkeypatch.setattr(throughput, "describe_machine", lambda: machine)
    timed = []
    monkeypatch.setattr(throughput, "measure_throughput", lambda net, *given, **more: timed.append(net) or SPEED)
    for device in (torch.device("cpu"), torch.device("cuda", 0), torch.device("cpu")):
        net = Mock(**{"parameters.side_effect": lambda device=device: iter([Mock(device=device)])})
        cached_throughput(one, net, Mock(), 10, (8, 8), None, runs=tmp_path)
    assert len(timed) == (2 if gpu else 1)
