"""What the literature says of a mechanism, for the descriptions of its runs."""

from attncli import attention
from attncli.attention.card import Card
from attncli.errors import UserError
from attncli.literature.claim_entries import read_claim_entries

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
    """Return the paper of a mechanism, or of each of a combination, in Markdown with a link if it is on arXiv.

    Returns "" if none is known.
    """
    if attn == attention.NONE or attention.is_plugin(attn):
        return ""
    return "; ".join(_cite_card(member.card) for member in attention.describe_mechanism(attn).members)


def _cite_card(card: Card) -> str:
    title = f"[{card.title}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else card.title
    return f"{title}, {card.venue} {card.year}"


def list_claim_sentences(attn: str) -> tuple[str, ...]:
    """Return one sentence with its source per claim that runs of a mechanism can test; those of accuracy first."""
    entries = [e for e in read_claim_entries(attn) if "check" in e and e.get("kind") in MEASURED_KINDS]
    entries.sort(key=lambda entry: MEASURED_KINDS.index(entry["kind"]))
    return tuple(f"`{entry['id']}`: {entry['text']} ({entry['source']})" for entry in entries[:MAX_CLAIMS])


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
