"""What the literature says about a mechanism, for the descriptions of its runs.

The survey's files are read here as data: the survey itself stands above this layer.
"""

from functools import cache
from pathlib import Path
from typing import Any

from attncli import attention
from attncli.errors import UserError
from attncli.recipe import parse_yaml

CLAIMS_DIR = Path(__file__).parents[1] / "claims" / "data"
MEASURED_KINDS = (
    "accuracy",
    "params",
    "flops",
    "speed",
    "memory",
    "ablation",
)  # kinds of claims that runs can test, in this order
MAX_CLAIMS = 6


def cite_paper(attn: str) -> str:
    """Return the mechanism's paper in Markdown, with a link if it is on arXiv, or "" if none is known."""
    if attn == attention.NONE or attention.is_plugin(attn):
        return ""
    card = attention.describe_mechanism(attn).card
    title = f"[{card.title}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else card.title
    return f"{title}, {card.venue} {card.year}"


@cache
def list_claim_sentences(attn: str) -> tuple[str, ...]:
    """Return the claims that runs of a mechanism can test, one sentence each with its source, accuracy first."""
    try:
        text = (CLAIMS_DIR / f"{attn}.yaml").read_text(encoding="utf-8")
    except OSError:
        return ()
    measured_claims: list[dict[str, Any]] = [
        claim for claim in parse_yaml(text) or () if "check" in claim and claim.get("kind") in MEASURED_KINDS
    ]
    measured_claims.sort(key=lambda claim: MEASURED_KINDS.index(claim["kind"]))
    return tuple(f"`{claim['id']}`: {claim['text']} ({claim['source']})" for claim in measured_claims[:MAX_CLAIMS])


def format_literature_note(attn: str) -> list[str]:
    """Return lines about the mechanism's paper and its claims; none if nothing is known."""
    try:
        citation = cite_paper(attn)
    except UserError:  # a user's own file that is no longer there
        return []
    lines = [f"Paper: {citation}.", ""] if citation else []
    if list_claim_sentences(attn):
        lines += ["Claims that this run helps to test (`attncli claims` gives the verdicts):", ""]
        lines += [*(f"- {claim}" for claim in list_claim_sentences(attn)), ""]
    return lines
