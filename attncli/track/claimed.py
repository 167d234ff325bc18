"""What the literature says of a mechanism, for the descriptions of its runs.

The survey's files are read here as data: the survey itself stands above this layer.
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from attncli import attention
from attncli.errors import UserError

FOLDER = Path(__file__).parents[1] / "survey" / "claims"
MEASURED = ("accuracy", "params", "flops", "speed", "memory", "ablation")  # kinds that runs speak to, in this order
MOST = 6


def paper(attn: str) -> str:
    """The mechanism's paper in Markdown, with a link where it is on arXiv; empty for none, or a user's own file."""
    if attn == attention.NONE or attention.is_own(attn):
        return ""
    card = attention.describe(attn).card
    title = f"[{card.title}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else card.title
    return f"{title}, {card.venue} {card.year}"


@cache
def claims(attn: str) -> tuple[str, ...]:
    """The claims that runs of a mechanism speak to, a sentence each with its source; those of accuracy first."""
    try:
        text = (FOLDER / f"{attn}.yaml").read_text(encoding="utf-8")
    except OSError:
        return ()
    found: list[dict[str, Any]] = [c for c in yaml.safe_load(text) or () if "check" in c and c.get("kind") in MEASURED]
    found.sort(key=lambda c: MEASURED.index(c["kind"]))
    return tuple(f"`{c['id']}`: {c['text']} ({c['source']})" for c in found[:MOST])


def markdown(attn: str) -> list[str]:
    """Lines about the mechanism's paper and its claims; none where nothing is known."""
    try:
        named = paper(attn)
    except UserError:  # a user's own file that is no longer there
        return []
    lines = [f"Paper: {named}.", ""] if named else []
    if claims(attn):
        lines += ["Claims that it speaks to (`attncli claims` gives the verdicts):", ""]
        lines += [*(f"- {claim}" for claim in claims(attn)), ""]
    return lines
