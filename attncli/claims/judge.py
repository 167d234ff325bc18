"""From claims to verdicts.

    exact quantities   counted at once, and true or false
    speeds             timed in turn when asked for; the interval of the median over rounds decides
    accuracies         finished runs, paired seed by seed; p with Holm's correction over all claims that were tested

A claim of several comparisons holds if all of them hold, so its p is the largest of theirs; it fails if any fails.
"""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import ImageSpec
from attncli.claims import accuracy, language, networks
from attncli.claims.budget import compute_budget
from attncli.claims.claim_files import Claim
from attncli.claims.comparison import ClaimComparison
from attncli.claims.evaluate import evaluate_expression, holds_exactly
from attncli.claims.evidence import Evidence
from attncli.claims.language import ACCURACY, EXACT, QUANTITIES, SPEED, ClaimTree, Quantity
from attncli.claims.next_step import suggest_training
from attncli.claims.outcome_words import reword_verdict
from attncli.claims.settlement import settle_verdicts
from attncli.claims.substitution import substitute_backbone
from attncli.claims.verdict import (
    ClaimVerdict,
    ComparisonOutcome,
    CountedOutcome,
    Outcome,
    TimedOutcome,
    TrainedOutcome,
    combine_outcomes,
)
from attncli.errors import UserError
from attncli.literature.claim_tests import load_claim_tests
from attncli.system.other_work import QUIET_CORES

HOST_LABEL = "the host, which starts the kernels, was the limit and not the GPU: speeds of launches"


def judge_claims(
    claims: Sequence[Claim], evidence: Evidence, requested: Sequence[Claim] | None = None
) -> list[ClaimVerdict]:
    """Return the verdicts of the `requested` claims (all of `claims` by default), in their order.

    p values are corrected for all of `claims` that runs could test, so that they do not depend on what is requested.
    """
    ids = {claim.id for claim in (claims if requested is None else requested)}
    drafts = [_draft_verdict(c, evidence) if c.id in ids else _judge_accuracy_only(c, evidence) for c in claims]
    evidence.counts.save_counts()
    verdicts = settle_verdicts(drafts)
    return [reword_verdict(verdict) for verdict in verdicts if verdict.claim.id in ids]


def _judge_accuracy_only(claim: Claim, evidence: Evidence) -> ClaimVerdict:
    """Judge a claim that was not requested: only its p value, which Holm's correction needs."""
    parts = () if claim.tree is None else _decide_parts(resolve_claim(claim, evidence), evidence, {*ACCURACY})
    return ClaimVerdict(
        claim=claim, outcome=combine_outcomes([p.outcome for p in parts]), by="runs", why="", parts=parts
    )


def _draft_verdict(claim: Claim, evidence: Evidence) -> ClaimVerdict:
    """Judge a claim, except for what depends on the other claims."""
    if claim.test is not None:
        return _judge_by_test(claim, claim.test)
    if claim.tree is None:
        return ClaimVerdict(claim=claim, outcome="untestable", by="nothing", why=claim.untestable or "")
    evidence.report_claim(claim.id)
    resolved = resolve_claim(claim, evidence)
    parts = _decide_parts(resolved, evidence, {*QUANTITIES})
    kinds = {part.kind for part in parts}
    decided_by = "runs" if "trained" in kinds else "timing" if "timed" in kinds else "counting"
    outcome = combine_outcomes([part.outcome for part in parts])
    digests = {digest for part in parts if isinstance(part, TrainedOutcome) for digest in part.digests}
    budget = compute_budget(claim, [run for run in evidence.runs if run.digest in digests])
    budget_labels = budget.labels if budget else ()
    transfer_labels = (*resolved.labels, *_list_dataset_labels(parts, claim))
    source_labels = ("the source could not be verified",) if "unverified" in claim.source else ()
    labels = (
        () if outcome == "untested" else (*transfer_labels, *budget_labels, *_list_timing_labels(parts), *source_labels)
    )
    return ClaimVerdict(
        claim=claim,
        outcome=outcome,
        by=decided_by,
        why=_join_reasons(outcome, parts),
        parts=parts,
        values=_list_exact_values(resolved),
        is_transfer=bool(transfer_labels) or (budget is not None and budget.is_part),
        labels=labels,
        budget=budget,
        command=_suggest_command(resolved, outcome, decided_by, parts, evidence),
    )


def _judge_by_test(claim: Claim, test: str) -> ClaimVerdict:
    """Judge a claim that a test of attncli shows, if there is this test."""
    commit = load_claim_tests().get(test)
    if commit is None:
        return ClaimVerdict(claim=claim, outcome="untested", by="test", why=f"{test}: no such test")
    return ClaimVerdict(claim=claim, outcome="holds", by="test", why=f"{test} (commit {commit})")


@dataclass(frozen=True)
class ResolvedClaim:
    """A claim as it is judged: its tree with the evidence's backbone, and labels that say so if that is another."""

    claim: Claim
    tree: ClaimTree
    labels: tuple[str, ...]
    backbone: str | None
    counts: CountCache

    def resolve_images(self, quantity: Quantity) -> ImageSpec:
        """Return the images of a quantity; on another network than the claim's, those that suit that network."""
        if self.labels and quantity.name not in EXACT:
            return networks.resolve_images(quantity, None, None)
        return networks.resolve_images(quantity, self.claim.on, self.claim.size)

    def count_exactly(self, quantity: Quantity) -> float:
        """Return the value of an exact quantity. Raises UserError if its network cannot be built."""
        return self.counts.get_count(
            quantity.name, networks.make_recipe(quantity.network), self.resolve_images(quantity)
        )


def resolve_claim(claim: Claim, evidence: Evidence) -> ResolvedClaim:
    """Return a claim with a check as the evidence reads it."""
    tree, labels = substitute_backbone(claim, evidence.backbone)
    return ResolvedClaim(claim, tree, labels, evidence.backbone, evidence.counts)


def _decide_parts(resolved: ResolvedClaim, evidence: Evidence, names: set[str]) -> tuple[ComparisonOutcome, ...]:
    """Decide the comparisons of a claim that contain a quantity of these names."""
    comparisons = [
        ClaimComparison(left_side, link, resolved.claim.on, resolved.count_exactly, resolved.resolve_images)
        for left_side, link in resolved.tree.link_pairs()
    ]
    return tuple(
        _decide_part(q, evidence) for q in comparisons if not names.isdisjoint(x.name for x in q.list_quantities())
    )


def _decide_part(comparison: ClaimComparison, evidence: Evidence) -> ComparisonOutcome:
    """Decide one comparison."""
    names = {q.name for q in comparison.list_quantities()}
    try:
        if names & ACCURACY.keys():
            return accuracy.decide_accuracy(
                comparison, evidence.run_index, failures=evidence.failures, planned_seeds=evidence.planned_seeds
            )
        return evidence.speeds.decide_speed(comparison) if names & SPEED.keys() else _decide_counted(comparison)
    except UserError as error:
        return CountedOutcome(text=comparison.text, outcome="untested", why=error.problem)
    except ZeroDivisionError:
        return CountedOutcome(text=comparison.text, outcome="untested", why=f"{comparison.text}: divides by 0")


def _decide_counted(comparison: ClaimComparison) -> ComparisonOutcome:
    """Decide a comparison of exact quantities, which is true or false."""
    left_value, right_value = (
        evaluate_expression(side, comparison.exact) for side in (comparison.left, comparison.link.right)
    )
    outcome: Outcome = "holds" if holds_exactly(comparison.left, comparison.link, comparison.exact) else "fails"
    return CountedOutcome(
        text=comparison.text,
        outcome=outcome,
        left=left_value,
        right=right_value,
        difference=left_value - right_value,
        link=comparison.link,
    )


def _list_exact_values(resolved: ResolvedClaim) -> tuple[tuple[str, float], ...]:
    """Return the exact quantities that a claim names, each once; those that cannot be counted are left out."""
    values = {}
    for quantity in language.iterate_quantities(resolved.tree):
        if quantity.name in EXACT:
            with suppress(UserError):
                values[language.format_tree(quantity)] = resolved.count_exactly(quantity)
    return tuple(values.items())


def _list_dataset_labels(parts: Sequence[ComparisonOutcome], claim: Claim) -> list[str]:
    """Return on which datasets it was tested, except for those on which it was claimed."""
    if claim.on is None:
        return []
    named_datasets = (
        set()
        if claim.tree is None
        else {dict(q.settings).get("dataset") for q in language.iterate_quantities(claim.tree)}
    )
    trained = [part for part in parts if isinstance(part, TrainedOutcome)]
    datasets = dict.fromkeys(p.dataset for p in trained if p.dataset and p.dataset not in {claim.on, *named_datasets})
    return [f"on another dataset: {name} (claimed on {claim.on})" for name in datasets]


def _list_timing_labels(parts: Sequence[ComparisonOutcome]) -> list[str]:
    """Return what disturbed the timing: the host was the limit, or other programs worked meanwhile."""
    timed = [part for part in parts if isinstance(part, TimedOutcome)]
    cores = max((part.cores_used_by_others for part in timed), default=0.0)
    busy_labels = [f"other programs kept {cores:.1f} cores busy meanwhile"] if cores > QUIET_CORES else []
    return [HOST_LABEL] * any(part.limit == "host" for part in timed) + busy_labels


def _join_reasons(outcome: Outcome, parts: Sequence[ComparisonOutcome]) -> str:
    """Return the reasons of the parts that decide."""
    return "; ".join(dict.fromkeys(part.why for part in parts if part.outcome == outcome and part.why))


def _suggest_command(
    resolved: ResolvedClaim,
    outcome: Outcome,
    decided_by: str,
    parts: Sequence[ComparisonOutcome],
    evidence: Evidence,
) -> str | None:
    """Return the command that would test a claim, or test it further; None if counting decides or it is settled."""
    if outcome not in ("untested", "undecided") or decided_by == "counting":
        return None
    backbone = resolved.backbone if resolved.labels else None
    if decided_by == "timing":
        words = ["attncli", "claims", resolved.claim.id, *resolved.claim.file_option]
        words += [*(["--backbone", backbone] if backbone else []), *evidence.store_options]
        return shlex.join([*words, "--measure"])
    return suggest_training(resolved.claim, resolved.tree, backbone, parts, evidence)
