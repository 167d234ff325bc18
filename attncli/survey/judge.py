"""Every claim to its verdict.

    exact quantities   counted at once, and true or false
    speeds             timed in turn when asked for; the interval of the median over rounds decides
    accuracies         finished runs, paired seed by seed; p with Holm's correction over all claims that were tested

A claim of several comparisons holds where all do, so its p is the largest of theirs; it fails where any does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from attncli.errors import UserError
from attncli.survey import accuracy, language, networks, stats
from attncli.survey.claims import Claim
from attncli.survey.evaluate import evaluate, true
from attncli.survey.evidence import Evidence
from attncli.survey.language import ACCURACY, EXACT, QUANTITIES, SPEED, Quantity
from attncli.survey.networks import Images
from attncli.survey.question import Question
from attncli.survey.transfer import moved
from attncli.survey.verdict import Outcome, Part, Verdict, joined

ALPHA = stats.ALPHA
SMALL_DATASET = "cifar10"  # for what is claimed of a large one and tested on a small network


def judge(claims: Sequence[Claim], evidence: Evidence, wanted: Sequence[Claim] | None = None) -> list[Verdict]:
    """The verdicts of the claims that are `wanted` (all of `claims` without), in their order.

    p values are corrected for all of `claims` that runs could test, so that they do not depend on what is wanted.
    """
    ids = {claim.id for claim in (claims if wanted is None else wanted)}
    drafts = [_draft(c, evidence) if c.id in ids else _beside(c, evidence) for c in claims]
    evidence.counts.save()
    found = _corrected(drafts, [_chances(draft.parts) for draft in drafts])
    return [verdict for verdict in found if verdict.claim.id in ids]


def _beside(claim: Claim, evidence: Evidence) -> Verdict:
    """Of a claim that nobody wants to see, what the correction of the others needs: what runs say of it."""
    parts = () if claim.tree is None else _parts(claim, evidence, {*ACCURACY})
    return Verdict(claim=claim, outcome=joined([p.outcome for p in parts]), by="runs", why="", parts=parts)


def _draft(claim: Claim, evidence: Evidence) -> Verdict:
    """The verdict but for what depends on the others."""
    if claim.test is not None:
        return Verdict(claim=claim, outcome="holds", by="test", why=f"decided by {claim.test}")
    if claim.tree is None:
        return Verdict(claim=claim, outcome="untestable", by="nothing", why=claim.untestable or "")
    evidence.told(claim.id)
    parts = _parts(claim, evidence, {*QUANTITIES})
    kinds = {part.kind for part in parts}
    by = "runs" if "trained" in kinds else "timing" if "timed" in kinds else "counting"
    outcome = joined([part.outcome for part in parts])
    verdict = Verdict(
        claim=claim,
        outcome=outcome,
        by=by,
        why=_why(outcome, parts),
        parts=parts,
        values=_values(_Asked(claim, evidence)),
        labels=() if outcome == "untested" else (*moved(claim, evidence.backbone)[1], *_places(parts, claim)),
    )
    return replace(verdict, command=_command(verdict, evidence.backbone))


class _Asked:
    """A claim's tree as it is to be judged, and who tells its exact quantities and its images."""

    def __init__(self, claim: Claim, evidence: Evidence) -> None:
        self.claim = claim
        self.tree, self._labels = moved(claim, evidence.backbone)
        self._counts = evidence.counts

    def images(self, quantity: Quantity) -> Images:
        """The images of a quantity; on another network than the claim's, such as suit that network."""
        if self._labels and quantity.name not in EXACT:
            return networks.images(quantity, None, None)
        return networks.images(quantity, self.claim.on, self.claim.size)

    def exact(self, quantity: Quantity) -> float:
        """The value of an exact quantity."""
        return self._counts.get(quantity.name, networks.recipe(quantity.network), self.images(quantity))


def _parts(claim: Claim, evidence: Evidence, names: set[str]) -> tuple[Part, ...]:
    """The comparisons of a claim that have a quantity of these names in them."""
    asked = _Asked(claim, evidence)
    questions = [Question(left, link, claim.on, asked.exact, asked.images) for left, link in asked.tree.pairs()]
    return tuple(_part(q, evidence) for q in questions if not names.isdisjoint(x.name for x in q.quantities()))


def _part(question: Question, evidence: Evidence) -> Part:
    """One comparison."""
    names = {q.name for q in question.quantities()}
    try:
        if names & ACCURACY.keys():
            return accuracy.decide(question, evidence.runs)
        return evidence.speeds.decide(question) if names & SPEED.keys() else _counted(question)
    except UserError as error:
        return Part(text=question.text, kind="counted", outcome="untested", why=error.problem)


def _counted(question: Question) -> Part:
    """A comparison of exact quantities is true or false."""
    left, right = (evaluate(side, question.exact) for side in (question.left, question.link.right))
    outcome: Outcome = "holds" if true(question.left, question.link, question.exact) else "fails"
    return Part(text=question.text, kind="counted", outcome=outcome, left=left, right=right, difference=left - right)


def _values(asked: _Asked) -> tuple[tuple[str, float], ...]:
    """The exact quantities that a claim names, each once."""
    found = {}
    for quantity in language.quantities(asked.tree):
        if quantity.name in EXACT:
            with suppress(UserError):
                found[language.write(quantity)] = asked.exact(quantity)
    return tuple(found.items())


def _places(parts: Sequence[Part], claim: Claim) -> list[str]:
    """On what it was tested, where that is not what it was claimed on."""
    if claim.on is None:
        return []
    asked = set() if claim.tree is None else {dict(q.settings).get("dataset") for q in language.quantities(claim.tree)}
    datasets = dict.fromkeys(p.dataset for p in parts if p.dataset and p.dataset not in {claim.on, *asked})
    return [f"on another dataset: {name} (claimed on {claim.on})" for name in datasets]


def _why(outcome: Outcome, parts: Sequence[Part]) -> str:
    """The reasons of the parts that decide."""
    return "; ".join(dict.fromkeys(part.why for part in parts if part.outcome == outcome and part.why))


def _command(verdict: Verdict, backbone: str | None) -> str | None:
    """What would test a claim that is not, or test it further."""
    if verdict.outcome not in ("untested", "undecided") or verdict.by == "counting":
        return None
    claim = verdict.claim
    elsewhere = bool(moved(claim, backbone)[1])
    on = f" --backbone {backbone}" if elsewhere else ""
    if verdict.by == "timing":
        return f"attncli claims {claim.id}{on} --measure"
    small = elsewhere and claim.on not in networks.CLASSES.keys() - {"imagenet"}
    return f"attncli claims run {claim.id}{on}" + (f" --dataset {SMALL_DATASET}" if small else "")


def _chances(parts: Sequence[Part]) -> tuple[float | None, float | None]:
    """(p that a claim of these parts holds by chance, p that it fails by chance), where runs could test all of it."""
    trained = [part for part in parts if part.kind == "trained"]
    if not trained or any(part.p_holds is None for part in trained):
        return None, None
    p_fails = [part.p_fails for part in trained if part.p_fails is not None]
    return max(part.p_holds or 0.0 for part in trained), min(1.0, len(p_fails) * min(p_fails))


def _corrected(drafts: Sequence[Verdict], ps: Sequence[tuple[float | None, float | None]]) -> list[Verdict]:
    """The verdicts with Holm's correction, for what holds and for what fails apart."""
    holds, fails = stats.holm([p for p, _ in ps]), stats.holm([p for _, p in ps])
    tests = sum(p is not None for p in holds)
    return [_settled(draft, p, q, tests) for draft, p, q in zip(drafts, holds, fails, strict=True)]


def _settled(draft: Verdict, p_holds: float | None, p_fails: float | None, tests: int) -> Verdict:
    trained = [part for part in draft.parts if part.kind == "trained" and part.n]
    if not trained or draft.outcome != "undecided":
        return draft
    draft = replace(draft, n=min(part.n for part in trained))
    others = joined([part.outcome for part in draft.parts if part.kind != "trained"])
    if p_holds is None or p_fails is None:
        return replace(draft, why=_lone(trained))
    if p_holds < ALPHA and others == "holds":
        return _as(draft, "holds", p_holds)
    if p_fails < ALPHA:
        return _as(draft, "fails", p_fails)
    return _undecided(draft, trained, min(p_holds, p_fails), max(1, tests))


def _lone(trained: Sequence[Part]) -> str:
    return (
        "one seed cannot tell an effect from chance" if min(p.n for p in trained) == 1 else "not all of it was tested"
    )


def _as(draft: Verdict, outcome: Outcome, p: float) -> Verdict:
    """A claim that is decided; a failed one's parts say which of them failed."""
    parts = [
        replace(part, outcome="fails" if outcome == "fails" and (part.slack or 0) < 0 else "holds")
        if part.kind == "trained" and (outcome == "holds" or (part.slack or 0) < 0)
        else part
        for part in draft.parts
    ]
    return replace(draft, outcome=outcome, p=p, parts=tuple(parts), why="", command=None)


def _undecided(draft: Verdict, trained: Sequence[Part], p: float, tests: int) -> Verdict:
    """How many more seeds would do, at the differences and spreads seen."""
    more = [accuracy.more_seeds(part, ALPHA / tests) for part in trained]
    known = [count for count in more if count is not None]
    if len(known) < len(more):
        return replace(draft, p=p, why="the seeds scatter too much around the bound for any number to settle it")
    count = max(known)
    why = f"about {count} more seed{'s' * (count > 1)} would settle it at this spread"
    command = f"{draft.command} --seeds {(draft.n or 0) + count}"
    return replace(draft, p=p, more_seeds=count, why=why, command=command)
