"""`attncli claims`: what the literature claims, and what becomes of it here."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from attncli.commands._options import echo_json, json_option, store_options


class _ClaimsCommand(click.Command):
    """`claims run ...` is a command of its own; anything else after `claims` names claims."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of this command, or of `run`."""
        if args[:1] == ["run"]:
            from attncli.commands._claims_run import command as run

            return run.make_context(f"{info_name} run", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=_ClaimsCommand)
@click.argument("ids", nargs=-1)
@click.option("--attn", metavar="NAMES", help="Only claims about these mechanisms (with commas).")
@click.option("--kind", metavar="KINDS", help="Only these kinds (with commas): params, speed, accuracy, ...")
@click.option("--verdict", metavar="VERDICTS", help="Only these verdicts (with commas): holds, fails, undecided, ...")
@click.option("--backbone", metavar="NAME", help="Test what is claimed of a larger network on this one.")
@click.option("--folder-is", metavar="NAME", help="The dataset whose images the runs on `folder` used.")
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="Claims of your own (YAML).")
@click.option("--measure", is_flag=True, help="Time the networks of the claims about speed now, in turn.")
@click.option("-v", "--verbose", is_flag=True, help="Everything each verdict rests on.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@store_options
@json_option
def command(
    ids: tuple[str, ...],
    attn: str | None,
    kind: str | None,
    verdict: str | None,
    backbone: str | None,
    folder_is: str | None,
    files: tuple[Path, ...],
    measure: bool,
    verbose: bool,
    as_csv: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Check every claim of the literature, or those of IDS: what was published, what is found here, does it hold?

    Parameters, MACs and memory are counted at once. Accuracy comes from finished runs, paired seed by seed;
    `attncli claims run ID` trains what is missing. Speed is timed with --measure. A verdict is one of holds, fails,
    undecided (too few seeds), untested (with the command that tests it) and untestable.

    \b
    Example:
      attncli claims --attn eca
      attncli claims eca-params -v
      attncli claims --backbone resnet20 --kind accuracy
      attncli claims run simam-acc-cifar --seeds 5 --dry-run
    """
    from attncli.report import claims as report
    from attncli.report import table

    shown = _judge_selected(ids, attn, kind, verdict, backbone, folder_is, files, measure, runs, tracking_uri)
    if as_json:
        return echo_json([v.to_json_dict() for v in shown])
    if as_csv:
        return click.echo(table.render_csv(report.list_csv_rows(shown)))
    width = shutil.get_terminal_size().columns
    if not shown:
        return click.echo("no claim has this verdict")
    if verbose or (ids and len(shown) == 1):
        return click.echo("\n\n".join(report.render_details(v, min(width, 100)) for v in shown))
    return click.echo(report.render_verdicts(shown, width))


def _judge_selected(
    ids: tuple[str, ...],
    attn: str | None,
    kind: str | None,
    verdict: str | None,
    backbone: str | None,
    folder_is: str | None,
    files: tuple[Path, ...],
    measure: bool,
    runs: Path,
    uri: str | None,
) -> list[Any]:
    """The verdicts asked for; p values are corrected for all claims, whatever is shown."""
    from attncli.claims import claim_files, judge
    from attncli.claims.evidence import gather_evidence
    from attncli.claims.verdict import parse_outcomes

    known = claim_files.read_claim_files(files) if files else claim_files.load_claims()
    requested = claim_files.select_claims(known, ids, attn=_list_names_in(attn), kinds=_list_names_in(kind))
    outcomes = parse_outcomes(_list_names_in(verdict))
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI")
    evidence = gather_evidence(
        runs, uri, backbone=backbone, folder_is=folder_is, measure=measure, report_claim=_overwrite_line
    )
    verdicts = judge.judge_claims(known, evidence, requested=requested)
    return [v for v in verdicts if v.outcome in outcomes]


def _list_names_in(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _overwrite_line(line: str) -> None:
    """A line on stderr that the next one overwrites, on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}", err=True, nl=False)
