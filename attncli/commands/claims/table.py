"""`attncli claims`: check the claims of the literature and print the verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._claim_options import (
    add_results_of_others,
    claim_backbone_option,
    claim_files_option,
    read_known_claims,
)
from attncli.commands._completion import (
    complete_claim_kinds,
    complete_claims,
    complete_mechanisms,
    complete_verdicts,
)
from attncli.commands._device_option import device_option
from attncli.commands._output import csv_option, echo_json, echo_note, json_option, overwrite_line
from attncli.commands._result_stream import echo_result
from attncli.commands._run_options import (
    alone_option,
    folder_is_option,
    planned_seeds_option,
    results_of_others_options,
    store_options,
    warn_of_unreadable_runs,
)
from attncli.commands._value_types import NAMES
from attncli.system.terminal import find_terminal_width

if TYPE_CHECKING:
    from attncli.claims.evidence import Evidence
    from attncli.claims.verdict import ClaimVerdict


@click.command()
@click.argument("ids", nargs=-1, shell_complete=complete_claims)
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Only claims about these mechanisms (separated by commas).",
)
@click.option(
    "--kind",
    type=NAMES,
    metavar="KINDS",
    shell_complete=complete_claim_kinds,
    help="Only these kinds: params, speed, accuracy, ...",
)
@click.option(
    "--verdict",
    type=NAMES,
    metavar="VERDICTS",
    shell_complete=complete_verdicts,
    help="Only these verdicts: holds, fails, undecided, ...",
)
@claim_backbone_option
@folder_is_option
@claim_files_option
@click.option("--measure", is_flag=True, help="Time the networks of the claims about speed now, in turn.")
@planned_seeds_option
@results_of_others_options
@alone_option
@click.option("-v", "--verbose", is_flag=True, help="Print everything that each verdict is based on.")
@csv_option
@device_option
@store_options
@json_option
def command(
    ids: tuple[str, ...],
    attn: list[str] | None,
    kind: list[str] | None,
    verdict: list[str] | None,
    backbone: str | None,
    folder_is: str | None,
    files: tuple[Path, ...],
    measure: bool,
    planned_seeds: int | None,
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    alone: bool,
    verbose: bool,
    as_csv: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Check the claims of the literature, or only those of IDS: what was published, what was measured here.

    Parameters, MACs and memory are counted at once. Accuracy comes from finished runs, paired seed by seed; the
    command `attncli claims run ID` trains the missing ones. Speed is timed with --measure. The verdicts:
    holds, fails, holds (direction), carries over, does not carry over, shown by a test, undecided, untested (with the
    command that tests it), untestable. The topic says what each means.

    More in `attncli help claims`.

    \b
    Example:
      attncli claims --attn eca
      attncli claims eca-params -v
      attncli claims --backbone resnet20 --kind accuracy
      attncli claims --with theirs.results --backbone resnet20 --kind accuracy
      attncli claims run simam-acc-cifar --seeds 5 --dry-run
    """
    from attncli.claims.evidence import gather_evidence
    from attncli.report import claims as claims_report
    from attncli.report import table
    from attncli.runs import RunStore

    if measure:
        from attncli.train import choose_device

        choose_device()  # an error if it is not there, before anything is timed
    evidence = gather_evidence(
        RunStore(runs, tracking_uri),
        backbone=backbone,
        folder_is=folder_is,
        measure=measure,
        planned_seeds=planned_seeds,
        report_step=overwrite_line,
        report_unreadable=warn_of_unreadable_runs,
    )
    evidence = add_results_of_others(evidence, with_files, shipped, folder_is, alone)
    verdicts = _judge_selected_claims(evidence, files, ids, attn or [], kind or [], verdict or [])
    if as_json:
        return echo_json([v.to_json_dict() for v in verdicts])
    if as_csv:
        return echo_result(table.render_csv(claims_report.list_csv_rows(verdicts)))
    return _print_verdicts(verdicts, evidence, ids, verbose)


def _judge_selected_claims(
    evidence: "Evidence",
    files: Sequence[Path],
    ids: Sequence[str],
    mechanisms: Sequence[str],
    kinds: Sequence[str],
    outcomes: Sequence[str],
) -> "list[ClaimVerdict]":
    """Return the verdicts with these outcomes on the claims that match; an empty list leaves nothing out.

    p values are corrected for all claims, also for those that are not shown.
    """
    from attncli.claims import claim_files, judge
    from attncli.claims.verdict import parse_outcomes

    known_claims = read_known_claims(files)
    requested = claim_files.select_claims(known_claims, ids, attn=mechanisms, kinds=kinds)
    shown_outcomes = parse_outcomes(outcomes)
    verdicts = judge.judge_claims(known_claims, evidence, requested=requested)
    return [verdict for verdict in verdicts if verdict.outcome in shown_outcomes]


def _print_verdicts(
    verdicts: "Sequence[ClaimVerdict]", evidence: "Evidence", ids: Sequence[str], verbose: bool
) -> None:
    """Print a table of the verdicts; of one claim that was asked for, or with `verbose`, all that they are based on."""
    from attncli.claims.next_step import describe_unused_runs
    from attncli.report import claims as claims_report

    width = find_terminal_width()
    if not verdicts:
        return click.echo("no claim has this verdict")
    if verbose or (ids and len(verdicts) == 1):
        return click.echo("\n\n".join(claims_report.render_details(v, min(width, 100)) for v in verdicts))
    click.echo(claims_report.render_verdicts(verdicts, width))
    for text in describe_unused_runs(verdicts, evidence) if not ids else ():
        echo_note(text)
    return None
