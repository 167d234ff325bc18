"""The claims that a command works on: the options that choose them and the network they are tested on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._completion import complete_backbones
from attncli.commands._output import echo_note
from attncli.commands._run_options import open_results_of_others, refuse_alone_without_results

if TYPE_CHECKING:
    from attncli.claims.claim_files import Claim
    from attncli.claims.evidence import Evidence

claim_backbone_option = click.option(
    "--backbone",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Test claims about a larger network on this one.",
)
claim_files_option = click.option(
    "--file", "files", multiple=True, type=click.Path(path_type=Path), help="File with your claims (YAML)."
)


def read_known_claims(files: Sequence[Path]) -> "tuple[Claim, ...]":
    """Return the claims of the user's files, or those of the literature if there are none.

    What may be a typing error in the name of a dataset is printed. Raises CollectedError with everything that is wrong
    with the files.
    """
    from attncli.claims import claim_files
    from attncli.claims.dataset_names import describe_near_misses

    if not files:
        return claim_files.load_claims()
    claims = claim_files.read_claim_files(files)
    for text in describe_near_misses(claims):
        echo_note(f"note: {text}")
    return claims


def add_results_of_others(
    evidence: "Evidence", with_files: Sequence[Path], shipped: Sequence[str], folder_is: str | None, alone: bool
) -> "Evidence":
    """Return the evidence with the runs of files and of shipped results, if some are named; with these only if `alone`.

    Raises UserError if no run of the files can be paired with one here, or if `alone` leaves nothing.
    """
    refuse_alone_without_results(alone, with_files, shipped)
    from attncli.claims.evidence import add_runs_of_others

    if not with_files and not shipped:
        return evidence
    if alone:
        evidence = replace(evidence, runs=(), failures=())
    others, failures = open_results_of_others(with_files, shipped)
    return add_runs_of_others(evidence, others, failures, folder_is=folder_is, must_match=not shipped)
