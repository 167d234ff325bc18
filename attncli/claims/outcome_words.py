"""The words of verdicts: each says no more than what was tested.

holds, fails                       tested as it was claimed
holds (direction)                  tested as claimed, but only whether there is a gain, not its size
carries over, does not carry over  tested on another network, dataset, or part of a dataset
shown by a test                    a test of attncli shows it
"""

from dataclasses import replace

from attncli.claims.verdict import ClaimVerdict, Outcome

DIRECTION = "direction"


def reword_verdict(verdict: ClaimVerdict) -> ClaimVerdict:
    """Return the verdict with the word that says what was tested."""
    return replace(verdict, outcome=_choose_word(verdict))


def _choose_word(verdict: ClaimVerdict) -> Outcome:
    if verdict.outcome == "fails" and verdict.is_transfer:
        return "does not carry over"
    if verdict.outcome != "holds":
        return verdict.outcome
    if verdict.by == "test":
        return "shown by a test"
    if verdict.is_transfer:
        return "carries over"
    return "holds (direction)" if verdict.claim.strength == DIRECTION else "holds"
