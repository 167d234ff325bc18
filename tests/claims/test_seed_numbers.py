"""The level of a claim by its runs, the power at that level, and how many seeds would decide it."""

import itertools
import statistics

import pytest

from attncli.analysis import stats
from attncli.analysis.looks import FIRST_LEVEL, SeedPlan
from attncli.claims.settlement import settle_verdicts
from attncli.claims.verdict import ClaimVerdict, TimedOutcome, TrainedOutcome
from tests.claims.case import run
from tests.claims.test_judge import BETTER, ECA, PLAIN, PLAINS, verdict

SCATTERED = [0.91, 0.92, 0.90]  # beside a plain network of 0.9: a spread of one point


def train(folder, planned, variant, plain=(0.9, 0.9, 0.9)):
    """Finish runs of eca and of the plain network; `planned` has the planned numbers of both by seed."""
    for attn, accuracies in (("eca", variant), ("none", plain)):
        for seed, (top1, number) in enumerate(zip(accuracies, planned[attn], strict=True)):
            run(folder / "runs", attn=attn, seed=seed, top1=top1, planned=number)


@pytest.mark.parametrize("plans", [{"eca": [4] * 4, "none": [3, 3, 3, 4]}, {"eca": [4] * 4, "none": [8] * 4}])
def test_plans_of_the_plain_network_are_of_other_mechanisms(tmp_path, plans):
    """Whatever sweep trained it before: eca was looked at once. Its own later plan is a second look."""
    for name, numbers, level in (("once", [4] * 4, FIRST_LEVEL), ("twice", [3, 3, 3, 4], 0.0025)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, plans | {"eca": numbers}, BETTER, PLAINS)
        assert verdict(tmp_path / name, f"{ECA} > {PLAIN}").parts[0].level == pytest.approx(level)


def test_a_claim_on_plain_networks_has_their_plan(tmp_path):
    """There is no other."""
    for backbone, seed in itertools.product(("resnet20", "resnet56"), range(3)):
        run(tmp_path / "runs", attn="none", seed=seed, top1=0.9, planned=5, model__backbone=backbone)
    assert verdict(tmp_path, f"top1(resnet56) > {PLAIN}").parts[0].planned_seeds == 5


def test_seeds_without_a_plan_are_advised_for_their_own_level(tmp_path):
    """At n seeds it is 0.04 / n, not that of the fourth seed. Power and number are those of scipy's noncentral t."""
    train(tmp_path, {"eca": [None] * 3, "none": [None] * 3}, SCATTERED)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    spread, _ = stats.find_plausible_spreads(0.01, 2)
    advised = found.n + found.more_seeds
    assert compute_power(advised, 0.005 / spread, 0.04 / advised) >= 0.8
    assert compute_power(advised - 1, 0.005 / spread, 0.04 / (advised - 1)) < 0.8
    assert found.parts[0].power == pytest.approx(compute_power(3, 0.5, 0.04 / 3), abs=1e-6)


def compute_power(n, effect, alpha):
    """Return the power of a two-sided t test of n seeds for an effect of so many spreads."""
    from scipy.stats import nct, t

    edge, shift = t.isf(alpha / 2, n - 1), effect * n**0.5
    return nct.sf(edge, n - 1, shift) + nct.cdf(-edge, n - 1, shift)


def test_both_sides_of_an_equivalence_are_planned_for(tmp_path):
    """Each of its two one-sided tests has 90 %, so that both together have 80 %."""
    train(tmp_path, {"eca": [3] * 3, "none": [3] * 3}, [0.899, 0.902, 0.9])
    both = verdict(tmp_path, f"{ECA} ~ {PLAIN} +- 0.2 %")
    one = verdict(tmp_path, f"{ECA} > {PLAIN} - 0.2 %")
    spread, _ = stats.find_plausible_spreads(statistics.stdev([-0.001, 0.002, 0.0]), 2)
    for found, wanted in ((both, 0.9), (one, 0.8)):
        advised = found.n + found.more_seeds
        assert compute_power(advised, 0.002 / spread, 2 * 0.0025) >= wanted
        assert compute_power(advised - 1, 0.002 / spread, 2 * 0.0025) < wanted or advised == 4
    assert both.more_seeds > one.more_seeds


def test_ties_do_not_scatter(tmp_path):
    """Networks that are equal at all seeds have no spread; another seed may part them, and nothing says how many do."""
    train(tmp_path, {"eca": [3] * 3, "none": [3] * 3}, [0.9] * 3)
    found = verdict(tmp_path, f"{ECA} > {PLAIN}")
    assert (found.outcome, found.more_seeds, found.most_more_seeds) == ("undecided", 1, None)
    assert "scatter" not in found.why


def make_draft(p_holds, p_fails, speed):
    """A claim of an accuracy, tested with these p values on five planned seeds, and of a speed with this outcome."""
    trained = TrainedOutcome(
        text="a", outcome="undecided", n=5, sd=0.01, interest=0.005, p_holds=p_holds, p_fails=p_fails,
        level=FIRST_LEVEL, plan=SeedPlan((5,)), planned_seeds=5,
    )  # fmt: skip
    timed = TimedOutcome(text="b", outcome=speed, why="of the speed")
    outcome = "undecided" if speed == "holds" else speed
    return ClaimVerdict(
        claim=None, outcome=outcome, by="runs", why=timed.why, parts=(trained, timed), command="attncli claims run"
    )


@pytest.mark.parametrize(
    ("p_holds", "p_fails", "speed", "outcome", "why"),
    [
        (0.001, 0.9, "holds", "holds", ""),
        (0.001, 0.9, "undecided", "undecided", "of the speed"),
        (0.001, 0.9, "untested", "untested", "of the speed"),
        (0.9, 0.001, "untested", "fails", ""),
        (0.9, 0.001, "undecided", "fails", ""),
    ],
)
def test_accuracy_and_speed_together(p_holds, p_fails, speed, outcome, why):
    """One part that fails decides; more seeds do not settle what the speed leaves open."""
    (found,) = settle_verdicts([make_draft(p_holds, p_fails, speed)])
    assert (found.outcome, found.why, found.more_seeds) == (outcome, why, None)
    (open_,) = settle_verdicts([make_draft(0.5, 0.5, "undecided")])
    assert open_.more_seeds > 0
