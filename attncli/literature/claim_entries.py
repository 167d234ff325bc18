"""The claims of each mechanism as they are written, to be quoted; `attncli.claims` parses and judges them."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

CLAIMS_FOLDER = Path(__file__).parent / "data" / "claims"  # one file per mechanism


@cache
def read_claim_entries(attn: str) -> tuple[dict[str, Any], ...]:
    """Return the entries of a mechanism's claim file in their order; none if it has no file."""
    try:
        text = (CLAIMS_FOLDER / f"{attn}.yaml").read_text(encoding="utf-8")
    except OSError:
        return ()
    return tuple(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or ())
