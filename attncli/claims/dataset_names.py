"""The names of datasets in claims: a known dataset under another name is refused, one that is nearly known is noted.

Any other name is free: it may be that of the user's own images, which `--folder-is` gives them.
"""

import difflib
from collections.abc import Iterator, Sequence

from attncli.claims import language
from attncli.claims.claim_files import Claim
from attncli.dataset_catalog import list_datasets
from attncli.errors import fold_name

NEAR = 0.85  # of the letters of both names in their order


def describe_near_misses(claims: Sequence[Claim]) -> list[str]:
    """Return one line per name of a dataset that is nearly one of attncli's, and may be a typing error."""
    known = {fold_name(dataset): dataset for dataset in list_datasets()}
    lines = []
    for claim_id, name in dict.fromkeys((claim.id, name) for claim in claims for name in _list_names(claim)):
        nearest = difflib.get_close_matches(fold_name(name), known, n=1, cutoff=NEAR)
        if nearest and name not in list_datasets():
            lines.append(f"{claim_id}: '{name}' is no dataset of attncli: did you mean '{known[nearest[0]]}'?")
    return lines


def _list_names(claim: Claim) -> Iterator[str]:
    """Yield the datasets that a claim names."""
    if claim.on is not None:
        yield claim.on
    for quantity in language.iterate_quantities(claim.tree) if claim.tree is not None else ():
        if dataset := dict(quantity.settings).get("dataset"):
            yield str(dataset)
