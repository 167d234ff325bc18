"""Records and their file."""

from pathlib import Path

import pytest

from attncli import records
from attncli.records import Cost, Epoch, Evaluation
from attncli.seeds import derive_seed


def epoch(n: int) -> Epoch:
    """An epoch record."""
    return Epoch(epoch=n, train_loss=1.0 / n, lr=0.1, train_images_per_s=100.0, train_seconds=2.0, val_top1=0.5)


def test_append_and_read(tmp_path: Path) -> None:
    """Records come back equal and in order."""
    for n in (1, 2):
        records.append_record(tmp_path, epoch(n))
    assert records.read(tmp_path) == [epoch(1), epoch(2)]


def test_a_line_cut_short_is_passed_over(tmp_path: Path) -> None:
    """A kill in the middle of a write loses that record only."""
    records.append_record(tmp_path, epoch(1))
    with (tmp_path / records.LOG).open("a") as file:
        file.write('{"kind": "epoch", "epo')
    assert records.read(tmp_path) == [epoch(1)]


def test_rewrite_leaves_no_other_file(tmp_path: Path) -> None:
    """The log is replaced as a whole, with no temporary file left."""
    records.append_record(tmp_path, epoch(1))
    records.replace_log(tmp_path, [epoch(2)])
    assert records.read(tmp_path) == [epoch(2)]
    assert [p.name for p in tmp_path.iterdir()] == [records.LOG]


def test_percent_is_the_overhead_over_the_baseline() -> None:
    """110 over 100 is 10 percent; over nothing it is no number."""
    cost = Cost(
        params=110,
        baseline_params=100,
        macs=5,
        baseline_macs=0,
        elementwise=1,
        baseline_elementwise=1,
        activation_bytes=1,
        baseline_activation_bytes=1,
        image_size=8,
    )
    assert cost.compute_overhead("params") == pytest.approx(10)
    assert cost.compute_overhead("macs") is None


def test_streams_are_named_and_independent() -> None:
    """A stream depends on seed and name alone, and names do not run together."""
    assert derive_seed(1, "augment", 2, 3) == derive_seed(1, "augment", 2, 3)
    others = {
        derive_seed(1, "augment", 2, 4),
        derive_seed(2, "augment", 2, 3),
        derive_seed(1, "order", 2, 3),
        derive_seed(1, "augment", 23),
    }
    assert derive_seed(1, "augment", 2, 3) not in others
    assert len(others) == 4


def test_macro_f1_is_scikit_learns() -> None:
    """The mean of F1 over the classes that occur, in truth or in prediction."""
    from sklearn.metrics import f1_score

    truth, predicted = [0, 0, 0, 0, 1, 1, 3], [0, 0, 1, 3, 1, 0, 3]
    confusion = [
        [sum(t == i and p == j for t, p in zip(truth, predicted, strict=True)) for j in range(5)] for i in range(5)
    ]
    evaluation = Evaluation(
        split="test", images=7, loss=0.0, top1=4 / 7, top5=1.0, images_per_s=1.0, confusion=confusion
    )
    assert evaluation.compute_macro_f1() == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_macro_f1_counts_images_without_a_finite_loss_as_missed() -> None:
    """As if they were taken for a class that is none of these."""
    from sklearn.metrics import f1_score

    evaluation = Evaluation(
        split="test", images=4, loss=0.0, top1=0.5, top5=1.0, images_per_s=1.0, confusion=[[1, 0], [1, 1]],
        nonfinite_by_class=[1, 0],
    )  # fmt: skip
    expected = f1_score([0, 0, 1, 1], [0, 2, 0, 1], labels=[0, 1], average="macro")
    assert evaluation.compute_macro_f1() == pytest.approx(expected)
