"""What becomes of a claim: a verdict with the numbers it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attncli.claims.claim_files import Claim
from attncli.errors import unknown_name_error

Outcome = Literal["holds", "fails", "undecided", "untested", "untestable"]
DecisionKind = Literal["counted", "timed", "trained"]
OUTCOMES: tuple[Outcome, ...] = ("holds", "fails", "undecided", "untested", "untestable")


@dataclass(frozen=True, kw_only=True)
class ComparisonOutcome:
    """One comparison of a claim.

    `left` and `right` are its sides (means over seeds, medians over rounds). `difference` is left minus right, without
    a constant that either holds, with its 95 % interval over `n` seeds or rounds; `bound` is what it is held against:
    of `a > b - 1 %` they are a - b and -0.01. `p_holds` is the chance of such figures if the comparison were just
    false, `p_fails` if it were just true; they belong to accuracies alone. `power` is the chance with which so many
    seeds find a true difference of half a point.
    """

    text: str
    kind: DecisionKind
    outcome: Outcome
    why: str = ""
    left: float | None = None
    right: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float = 0.0
    n: int = 0
    sd: float | None = None
    p_holds: float | None = None
    p_fails: float | None = None
    power: float | None = None
    forgiving: bool = False  # "no worse by": tested one-sided
    slack: float | None = None  # by how much it is fulfilled, of two slacks the smaller; `sd` is its spread
    lacking: tuple[str, ...] = ()  # networks that were not trained or timed
    dataset: str | None = None
    protocol: str | None = None
    seeds: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    measured: str | None = None  # when and on what, for speeds


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim and what became of it; `p` is corrected (Holm) for all claims about accuracy that were tested."""

    claim: Claim
    outcome: Outcome
    by: str  # what decides: counting, timing, runs, a test of the repository, nothing
    why: str
    parts: tuple[ComparisonOutcome, ...] = ()
    values: tuple[tuple[str, float], ...] = ()  # exact quantities by their text
    p: float | None = None
    n: int | None = None  # the fewest pairs of a part
    more_seeds: int | None = None  # about how many would settle it
    labels: tuple[str, ...] = ()  # what a reader must know: on another dataset, on another network
    command: str | None = None  # what would test it, or test it better

    def to_json_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        claim_fields = {k: v for k, v in vars(self.claim).items() if k != "tree"}
        verdict_fields = {k: v for k, v in vars(self).items() if k not in ("claim", "parts", "values")}
        return {
            **claim_fields,
            **verdict_fields,
            "values": dict(self.values),
            "parts": [vars(part) for part in self.parts],
        }


def combine_outcomes(outcomes: list[Outcome]) -> Outcome:
    """What parts that all must hold come to: one that fails decides."""
    order: tuple[Outcome, ...] = ("fails", "untested", "undecided")
    return next((outcome for outcome in order if outcome in outcomes), "holds")


def parse_outcomes(names: Sequence[str]) -> tuple[Outcome, ...]:
    """The outcomes of these names, all without. Raises UserError for a name that is none."""
    for name in names:
        if name not in OUTCOMES:
            raise unknown_name_error("verdict", name, OUTCOMES)
    return tuple(outcome for outcome in OUTCOMES if not names or outcome in names)
