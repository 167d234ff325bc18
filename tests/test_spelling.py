"""The distance between a typed word and a known one."""

import pytest

from attncli.spelling import measure_typing_errors


@pytest.mark.parametrize(
    ("typed", "word", "whole", "beginning"),
    [
        ("", "", 0, 0),
        ("", "se", 2, 0),
        ("se", "", 2, 2),
        ("resnet50", "resnet50", 0, 0),
        ("resnet", "resnet50", 2, 0),
        ("resnett", "resnet18", 2.5, 0.5),
        ("cbma", "cbam", 1, 1),
        ("ecaa", "eca", 0.5, 0.5),
        ("ecax", "eca", 1, 1),
        ("eac", "ecb", 2, 1),
        ("resnet19", "resnet18", 1, 1),
        ("resnet5o", "resnet50", 1.5, 1),
    ],
)
def test_typing_errors_are_counted(typed: str, word: str, whole: float, beginning: float) -> None:
    """Missing, extra and swapped letters count 1, doubled ones less, wrong letters more than wrong digits."""
    assert measure_typing_errors(typed, word) == (whole, beginning)
