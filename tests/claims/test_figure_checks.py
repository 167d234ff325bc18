"""Comparisons that say something else than they seem to are refused, and no others."""

import pytest

from attncli.claims.language import LanguageError, parse_claim
from attncli.claims.networks import validate_claim_tree

A, B = "resnet20 + eca", "resnet20"


@pytest.mark.parametrize(
    "check",
    [
        f"params({A}) < params({B}) + 5 %",
        f"macs({A}) - macs({B}) < 1 %",
        f"params({A}) - params({B}) ~ 0 +- 5 %",
        f"params({A}) ~ 101 % * params({B}) +- 1 %",
        f"(params({A}) + 5 %) / params({B}) < 2",
        f"top1({A}) > params({B})",
    ],
)
def test_a_percentage_beside_a_count_is_refused(check: str) -> None:
    """5 % is 0.05 of a parameter there."""
    with pytest.raises(LanguageError, match="a percentage or accuracy beside a figure that is none") as error:
        validate_claim_tree(parse_claim(check))
    assert "5 % * params(resnet50)" in error.value.hint


@pytest.mark.parametrize(
    "check",
    [
        f"top1({A}) - top1({B}) > 1",
        f"top1({A}) > top1({B}) - 1",
        f"top1({A}) > 76",
        f"top1({A}) - top1({B}) ~ 2 +- 0.5",
        f"top1({A}) ~ top1({B}) +- 1",
        f"abs(top1({A}) - top1({B})) < 2",
    ],
)
def test_accuracies_beside_points_without_a_percent_sign_are_refused(check: str) -> None:
    """A gain of 1 is one of 100 points, which no network has; that it is below 1 is true of all."""
    with pytest.raises(LanguageError, match="accuracies are 0 to 1") as error:
        validate_claim_tree(parse_claim(check))
    assert "1 %" in error.value.hint


@pytest.mark.parametrize(
    "check",
    [
        f"top1({A}) > 0",
        f"1 > top1({A}) > top1({B})",
        f"top1({A}) / top1({B}) > 1",
        f"100 * (top1({A}) - top1({B})) > 1",
        f"1 - top1({A}) < 1 - top1({B})",
        f"1 - top1({A}) < 0.6 * (1 - top1({B}))",
        f"top1({A}) / params({A}) > top1({B}) / params({B})",
        f"top1({A}) - top1({B}) > 50 % * (top1({A}) - top1({B}))",
        f"abs(top1({A}) - top1({B})) < 0.5 %",
        f"params({A}) - params({B}) < 5 % * params({B})",
        f"params({A}) / params({B}) - 1 < 5 %",
        f"2_514_944 / params({B}) ~ 10 % +- 0.5 %",
        f"params({A}) ~ 2.5M +- 5 %",
        f"(params({A}) - params({B})) / params({B}) ~ 0 +- 1 %",
        f"max(params({A}), 1) > 2 * params({B})",
        f"train_speed({A}) > 90 % * train_speed({B})",
    ],
)
def test_what_figures_can_decide_is_read(check: str) -> None:
    """Ratios, errors, differences and shares of counts."""
    validate_claim_tree(parse_claim(check))
