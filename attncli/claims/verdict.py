"""The verdict on a claim, with the numbers that it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from attncli.analysis.looks import SeedPlan
from attncli.claims.budget import Budget
from attncli.claims.claim_files import Claim
from attncli.claims.language import ComparisonLink
from attncli.errors import unknown_name_error

Outcome = Literal[
    "holds", "holds (direction)", "shown by a test", "carries over", "fails", "does not carry over", "undecided",
    "untested", "untestable",
]  # fmt: skip
DecisionKind = Literal["counted", "timed", "trained"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, kw_only=True)
class ComparisonOutcome:
    """What became of one comparison of a claim.

    `left` and `right` are its sides: exact numbers, medians over rounds or means over seeds. `difference` is left minus
    right, without a constant that either side has. All three are None if nothing decided it; `why` says the reason.
    `link` is the half of the comparison that begins with its sign, None if nothing decided it.
    """

    kind: ClassVar[DecisionKind]
    text: str
    outcome: Outcome
    why: str = ""
    left: float | None = None
    right: float | None = None
    difference: float | None = None
    link: ComparisonLink | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values with the same keys for every kind; those of other kinds have their empty value."""
        return _JSON_KEYS | {"kind": self.kind} | {k: v for k, v in vars(self).items() if k in _JSON_KEYS}


@dataclass(frozen=True, kw_only=True)
class CountedOutcome(ComparisonOutcome):
    """A comparison of exact quantities."""

    kind: ClassVar[DecisionKind] = "counted"


@dataclass(frozen=True, kw_only=True)
class TimedOutcome(ComparisonOutcome):
    """A comparison of speeds: the 95 % interval of the difference's median over `n` rounds.

    `measured` says when and on what.
    """

    kind: ClassVar[DecisionKind] = "timed"
    low: float | None = None
    high: float | None = None
    n: int = 0
    measured: str | None = None
    limit: str | None = None  # on CUDA: whether `host` or `device` limits the speeds compared
    cores_used_by_others: float = 0.0  # on average while it was timed


@dataclass(frozen=True, kw_only=True)
class TrainedOutcome(ComparisonOutcome):
    """A comparison of accuracies: the 95 % interval of the difference over `n` seeds.

    `bound` is what the difference is compared with: of `a > b - 1 %` they are a - b and -0.01. With a `tolerance` the
    difference is to lie as close to the bound: of `abs(a - b) < 1 %` they are 0.01, a - b and 0. `p_holds` is the
    chance of such figures if the comparison were just false, `p_fails` if it were just true. `power` is the chance
    that as many seeds find a true difference of half a point at the level of the test.
    """

    kind: ClassVar[DecisionKind] = "trained"
    low: float | None = None
    high: float | None = None
    bound: float = 0.0
    tolerance: float | None = None
    n: int = 0
    sd: float | None = None
    p_holds: float | None = None
    p_fails: float | None = None
    power: float | None = None
    forgiving: bool = False  # "no worse by": tested one-sided
    slack: float | None = None  # by how much it is fulfilled, of two slacks the smaller; `sd` is its spread
    interest: float = 0.0  # the smallest difference of interest: half a point, of "no worse by" claims their margin
    level: float | None = None  # of the test, by the planned number of seeds; None: too early
    next_level: float = 0.05  # at which a plan of one more seed would be judged
    planned_seeds: int | None = None
    plan: SeedPlan = field(default_factory=SeedPlan)  # of the seeds, those planned before too
    shortfall: str = ""  # why accuracies this low decide nothing
    failure: str = ""  # which seeds failed: what is left of them decides nothing
    failed_seeds: tuple[int, ...] = ()
    missing_seeds: tuple[int, ...] = ()  # that some of the networks finished or failed, and another did not begin
    lacking: tuple[str, ...] = ()  # networks that were not trained
    dataset: str | None = None
    protocol: str | None = None
    seeds: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()


_JSON_KEYS: dict[str, Any] = {
    "text": "", "kind": "", "outcome": "", "why": "", "left": None, "right": None, "difference": None, "low": None,
    "high": None, "bound": 0.0, "tolerance": None, "n": 0, "sd": None, "p_holds": None, "p_fails": None, "power": None,
    "forgiving": False, "slack": None, "interest": 0.0, "level": None, "next_level": 0.05, "planned_seeds": None,
    "shortfall": "", "failure": "", "failed_seeds": (), "missing_seeds": (),
    "lacking": (), "dataset": None, "protocol": None, "seeds": (), "digests": (), "run_ids": (),
    "measured": None, "limit": None, "cores_used_by_others": 0.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """A claim and its verdict; `p` is corrected (Holm) for all claims about accuracy that were tested."""

    claim: Claim
    outcome: Outcome
    by: str  # what decides: counting, timing, runs, a test of the repository, nothing
    why: str
    parts: tuple[ComparisonOutcome, ...] = ()
    values: tuple[tuple[str, float], ...] = ()  # exact quantities by their text
    p: float | None = None
    family: int = 0  # claims for which the p values are corrected together
    n: int | None = None  # the fewest pairs of a part
    more_seeds: int | None = None  # how many more would find the difference of interest, at least
    most_more_seeds: int | None = None  # and at most
    is_transfer: bool = False  # whether it was tested on another network, dataset, or part of a dataset than claimed
    labels: tuple[str, ...] = ()  # what a reader must know: on another dataset, on another network
    budget: Budget | None = None  # epochs and images of the runs beside the claim's
    command: str | None = None  # what would test it, or test it better

    def to_json_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        claim_fields = {k: v for k, v in vars(self.claim).items() if k != "tree"}
        verdict_fields = {k: v for k, v in vars(self).items() if k not in ("claim", "parts", "values")}
        return {
            **claim_fields,
            **verdict_fields,
            "budget": self.budget.describe() if self.budget else None,
            "image_share": self.budget.image_share if self.budget else None,
            "values": dict(self.values),
            "parts": [part.to_json_dict() for part in self.parts],
        }


def combine_outcomes(outcomes: list[Outcome]) -> Outcome:
    """Return the outcome of parts that all must hold: one that fails decides."""
    order: tuple[Outcome, ...] = ("fails", "untested", "undecided")
    return next((outcome for outcome in order if outcome in outcomes), "holds")


def parse_outcomes(names: Sequence[str]) -> tuple[Outcome, ...]:
    """Return the outcomes of these names (all if none are given); hyphens may stand for spaces.

    Raises UserError for an unknown name.
    """
    wanted = [name.replace("-", " ") for name in names]
    for name in wanted:
        if name not in OUTCOMES:
            raise unknown_name_error("verdict", name, OUTCOMES)
    return tuple(outcome for outcome in OUTCOMES if not names or outcome in wanted)
