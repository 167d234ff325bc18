"""Every claim to its verdict.

    exact quantities   counted at once, and true or false
    speeds             timed in turn when asked for; the interval of the median over rounds decides
    accuracies         finished runs, paired seed by seed; p with Holm's correction over all claims that were tested

A claim of several comparisons holds where all do, so its p is the largest of theirs; it fails where any does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from attncli.analysis import stats
from attncli.analysis.network_key import ImageSpec
from attncli.claims import accuracy, language, networks
from attncli.claims.claim_files import Claim
from attncli.claims.comparison import ClaimComparison
from attncli.claims.evaluate import evaluate_expression, holds_exactly
from attncli.claims.evidence import Evidence
from attncli.claims.language import ACCURACY, EXACT, QUANTITIES, SPEED, Quantity
from attncli.claims.substitution import substitute_backbone
from attncli.claims.verdict import ClaimVerdict, ComparisonOutcome, Outcome, combine_outcomes
from attncli.errors import UserError

ALPHA = stats.ALPHA
SMALL_DATASET = "cifar10"  # for what is claimed of a large one and tested on a small network


def judge_claims(
    claims: Sequence[Claim], evidence: Evidence, requested: Sequence[Claim] | None = None
) -> list[ClaimVerdict]:
    """The verdicts of the claims that are `requested` (all of `claims` without), in their order.

    p values are corrected for all of `claims` that runs could test, so that they do not depend on what is wanted.
    """
    ids = {claim.id for claim in (claims if requested is None else requested)}
    drafts = [_draft_verdict(c, evidence) if c.id in ids else _judge_accuracy_only(c, evidence) for c in claims]
    evidence.counts.save_counts()
    verdicts = _correct_verdicts(drafts, [_combine_p_values(draft.parts) for draft in drafts])
    return [verdict for verdict in verdicts if verdict.claim.id in ids]


def _judge_accuracy_only(claim: Claim, evidence: Evidence) -> ClaimVerdict:
    """Of a claim that nobody wants to see, what the correction of the others needs: what runs say of it."""
    parts = () if claim.tree is None else _decide_parts(claim, evidence, {*ACCURACY})
    return ClaimVerdict(
        claim=claim, outcome=combine_outcomes([p.outcome for p in parts]), by="runs", why="", parts=parts
    )


def _draft_verdict(claim: Claim, evidence: Evidence) -> ClaimVerdict:
    """The verdict but for what depends on the others."""
    if claim.test is not None:
        return ClaimVerdict(claim=claim, outcome="holds", by="test", why=f"decided by {claim.test}")
    if claim.tree is None:
        return ClaimVerdict(claim=claim, outcome="untestable", by="nothing", why=claim.untestable or "")
    evidence.report_claim(claim.id)
    parts = _decide_parts(claim, evidence, {*QUANTITIES})
    kinds = {part.kind for part in parts}
    decided_by = "runs" if "trained" in kinds else "timing" if "timed" in kinds else "counting"
    outcome = combine_outcomes([part.outcome for part in parts])
    verdict = ClaimVerdict(
        claim=claim,
        outcome=outcome,
        by=decided_by,
        why=_join_reasons(outcome, parts),
        parts=parts,
        values=_list_exact_values(_ResolvedClaim(claim, evidence)),
        labels=()
        if outcome == "untested"
        else (*substitute_backbone(claim, evidence.backbone)[1], *_list_dataset_labels(parts, claim)),
    )
    return replace(verdict, command=_suggest_command(verdict, evidence.backbone))


class _ResolvedClaim:
    """A claim's tree as it is to be judged, and who tells its exact quantities and its images."""

    def __init__(self, claim: Claim, evidence: Evidence) -> None:
        self.claim = claim
        self.tree, self._labels = substitute_backbone(claim, evidence.backbone)
        self._counts = evidence.counts

    def resolve_images(self, quantity: Quantity) -> ImageSpec:
        """The images of a quantity; on another network than the claim's, such as suit that network."""
        if self._labels and quantity.name not in EXACT:
            return networks.resolve_images(quantity, None, None)
        return networks.resolve_images(quantity, self.claim.on, self.claim.size)

    def count_exactly(self, quantity: Quantity) -> float:
        """The value of an exact quantity."""
        return self._counts.get_count(
            quantity.name, networks.make_recipe(quantity.network), self.resolve_images(quantity)
        )


def _decide_parts(claim: Claim, evidence: Evidence, names: set[str]) -> tuple[ComparisonOutcome, ...]:
    """The comparisons of a claim that have a quantity of these names in them."""
    resolved = _ResolvedClaim(claim, evidence)
    comparisons = [
        ClaimComparison(left_side, link, claim.on, resolved.count_exactly, resolved.resolve_images)
        for left_side, link in resolved.tree.link_pairs()
    ]
    return tuple(
        _decide_part(q, evidence) for q in comparisons if not names.isdisjoint(x.name for x in q.list_quantities())
    )


def _decide_part(comparison: ClaimComparison, evidence: Evidence) -> ComparisonOutcome:
    """One comparison."""
    names = {q.name for q in comparison.list_quantities()}
    try:
        if names & ACCURACY.keys():
            return accuracy.decide_accuracy(comparison, evidence.run_index)
        return evidence.speeds.decide_speed(comparison) if names & SPEED.keys() else _decide_counted(comparison)
    except UserError as error:
        return ComparisonOutcome(text=comparison.text, kind="counted", outcome="untested", why=error.problem)


def _decide_counted(comparison: ClaimComparison) -> ComparisonOutcome:
    """A comparison of exact quantities is true or false."""
    left_value, right_value = (
        evaluate_expression(side, comparison.exact) for side in (comparison.left, comparison.link.right)
    )
    outcome: Outcome = "holds" if holds_exactly(comparison.left, comparison.link, comparison.exact) else "fails"
    return ComparisonOutcome(
        text=comparison.text,
        kind="counted",
        outcome=outcome,
        left=left_value,
        right=right_value,
        difference=left_value - right_value,
    )


def _list_exact_values(resolved: _ResolvedClaim) -> tuple[tuple[str, float], ...]:
    """The exact quantities that a claim names, each once."""
    values = {}
    for quantity in language.iterate_quantities(resolved.tree):
        if quantity.name in EXACT:
            with suppress(UserError):
                values[language.format_tree(quantity)] = resolved.count_exactly(quantity)
    return tuple(values.items())


def _list_dataset_labels(parts: Sequence[ComparisonOutcome], claim: Claim) -> list[str]:
    """On what it was tested, where that is not what it was claimed on."""
    if claim.on is None:
        return []
    named_datasets = (
        set()
        if claim.tree is None
        else {dict(q.settings).get("dataset") for q in language.iterate_quantities(claim.tree)}
    )
    datasets = dict.fromkeys(p.dataset for p in parts if p.dataset and p.dataset not in {claim.on, *named_datasets})
    return [f"on another dataset: {name} (claimed on {claim.on})" for name in datasets]


def _join_reasons(outcome: Outcome, parts: Sequence[ComparisonOutcome]) -> str:
    """The reasons of the parts that decide."""
    return "; ".join(dict.fromkeys(part.why for part in parts if part.outcome == outcome and part.why))


def _suggest_command(verdict: ClaimVerdict, backbone: str | None) -> str | None:
    """What would test a claim that is not, or test it further."""
    if verdict.outcome not in ("untested", "undecided") or verdict.by == "counting":
        return None
    claim = verdict.claim
    is_substituted = bool(substitute_backbone(claim, backbone)[1])
    backbone_option = f" --backbone {backbone}" if is_substituted else ""
    if verdict.by == "timing":
        return f"attncli claims {claim.id}{backbone_option} --measure"
    needs_small_dataset = is_substituted and not networks.has_small_images(claim.on)
    return f"attncli claims run {claim.id}{backbone_option}" + (
        f" --dataset {SMALL_DATASET}" if needs_small_dataset else ""
    )


def _combine_p_values(parts: Sequence[ComparisonOutcome]) -> tuple[float | None, float | None]:
    """(p that a claim of these parts holds by chance, p that it fails by chance), where runs could test all of it."""
    trained = [part for part in parts if part.kind == "trained"]
    if not trained or any(part.p_holds is None for part in trained):
        return None, None
    p_fails = [part.p_fails for part in trained if part.p_fails is not None]
    return max(part.p_holds or 0.0 for part in trained), min(1.0, len(p_fails) * min(p_fails))


def _correct_verdicts(
    drafts: Sequence[ClaimVerdict], ps: Sequence[tuple[float | None, float | None]]
) -> list[ClaimVerdict]:
    """The verdicts with Holm's correction, for what holds and for what fails apart."""
    holds, fails = stats.holm([p for p, _ in ps]), stats.holm([p for _, p in ps])
    tests = sum(p is not None for p in holds)
    return [_settle_verdict(draft, p, q, tests) for draft, p, q in zip(drafts, holds, fails, strict=True)]


def _settle_verdict(draft: ClaimVerdict, p_holds: float | None, p_fails: float | None, tests: int) -> ClaimVerdict:
    trained = [part for part in draft.parts if part.kind == "trained" and part.n]
    if not trained or draft.outcome != "undecided":
        return draft
    draft = replace(draft, n=min(part.n for part in trained))
    others = combine_outcomes([part.outcome for part in draft.parts if part.kind != "trained"])
    if p_holds is None or p_fails is None:
        return replace(draft, why=_explain_untestable(trained))
    if p_holds < ALPHA and others == "holds":
        return _mark_decided(draft, "holds", p_holds)
    if p_fails < ALPHA:
        return _mark_decided(draft, "fails", p_fails)
    return _mark_undecided(draft, trained, min(p_holds, p_fails), max(1, tests))


def _explain_untestable(trained: Sequence[ComparisonOutcome]) -> str:
    return (
        "one seed cannot tell an effect from chance" if min(p.n for p in trained) == 1 else "not all of it was tested"
    )


def _mark_decided(draft: ClaimVerdict, outcome: Outcome, p: float) -> ClaimVerdict:
    """A claim that is decided; a failed one's parts say which of them failed."""
    parts = [
        replace(part, outcome="fails" if outcome == "fails" and (part.slack or 0) < 0 else "holds")
        if part.kind == "trained" and (outcome == "holds" or (part.slack or 0) < 0)
        else part
        for part in draft.parts
    ]
    return replace(draft, outcome=outcome, p=p, parts=tuple(parts), why="", command=None)


def _mark_undecided(draft: ClaimVerdict, trained: Sequence[ComparisonOutcome], p: float, tests: int) -> ClaimVerdict:
    """How many more seeds would do, at the differences and spreads seen."""
    seed_counts = [accuracy.count_more_seeds(part, ALPHA / tests) for part in trained]
    known_counts = [count for count in seed_counts if count is not None]
    if len(known_counts) < len(seed_counts):
        return replace(draft, p=p, why="the seeds scatter too much around the bound for any number to settle it")
    count = max(known_counts)
    why = f"about {count} more seed{'s' * (count > 1)} would settle it at this spread"
    command = f"{draft.command} --seeds {(draft.n or 0) + count}"
    return replace(draft, p=p, more_seeds=count, why=why, command=command)
