"""The bench of evaluation: both contenders do as much, and the ratio is that of their throughputs."""

from pathlib import Path

import pytest
import torch
from torch import nn

from attncli import train
from attncli.benchmark import contenders, evaluation, results
from attncli.benchmark.training_loops import BenchSetting
from attncli.benchmark.turns import BenchLimit

TINY = BenchSetting("resnet20", "none", batch_size=4, steps=3, size=8)


def test_both_take_as_many_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of either sends twelve images through the network, in eval mode and without gradients."""
    seen: dict[str, int] = {}
    for name in ("evaluate", "infer"):
        passed: list[int] = []
        net = TINY.build_network()
        plain = net.forward

        def forward(x: torch.Tensor, passed: list[int] = passed, plain=plain, net: nn.Module = net) -> torch.Tensor:
            passed.append(0 if net.training or torch.is_grad_enabled() else len(x))
            return plain(x)

        monkeypatch.setattr(BenchSetting, "build_network", lambda _, net=net: net)
        monkeypatch.setattr("attncli.measure.timed_network.copy.deepcopy", lambda one: one)
        net.forward = forward
        turn = contenders.choose_contender(name)(TINY, tmp_path)
        passed.clear()
        turn()
        seen[name] = sum(passed)
    assert seen == {"evaluate": 12, "infer": 12}


def test_ours_is_the_evaluation_itself(tmp_path: Path) -> None:
    """It gives the loss that an evaluation of the same network and images gives."""
    data = TINY.make_dataset()
    wanted = train.evaluate_split(TINY.build_network(), data.test, data, TINY.build_recipe(), name="test")
    assert contenders.choose_contender("evaluate")(TINY, tmp_path)() == wanted.loss


def test_a_ratio_is_evaluation_over_inference() -> None:
    """Evaluation that takes ten ninths of the time has 0.9 of the throughput."""
    row = results.summarize_rounds(TINY, [{"ours": 10.0, "infer": 9.0}, {"ours": 20.0, "infer": 18.0}])
    assert row.ratios == {"infer": pytest.approx([0.9] * 3)}
    assert results.format_training_row(row)["x infer"] == "0.90 (0.90-0.90)"


def test_the_real_thing() -> None:
    """Two processes, a round, a row with both throughputs."""
    (row,) = evaluation.bench_evaluation([TINY], BenchLimit(1, 600.0))
    assert row.images_per_s.keys() == {"ours", "infer"}
    assert row.ratios["infer"][1] == pytest.approx(row.images_per_s["ours"] / row.images_per_s["infer"])
