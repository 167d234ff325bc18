"""The published accuracy that a plain network has to reach, whatever the sources call the network."""

import pytest

from attncli.claims.reference_accuracy import find_published_top1


@pytest.mark.parametrize(
    ("backbone", "dataset", "top1"),
    [
        ("resnet20", "cifar10", 0.9125),
        ("preactresnet20", "cifar10", 0.9133),  # preresnet20
        ("preactresnet110", "cifar10", 0.9363),
        ("wide_resnet16_8", "cifar10", 0.9573),  # wrn-16-8
        ("wide_resnet28_10", "cifar100", 0.8075),
        ("wide_resnet28_8", "cifar100", None),  # quoted from memory
        ("preactresnet20", "digits", None),
    ],
)
def test_the_lowest_verified_figure_is_asked_for(backbone: str, dataset: str, top1: float | None) -> None:
    """None if no source that was seen prints one."""
    found = find_published_top1(backbone, dataset)
    assert found == (None if top1 is None else pytest.approx(top1))
