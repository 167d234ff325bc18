"""`attncli doctor`: check whether this machine is ready."""

from pathlib import Path

import click

from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.commands._run_options import new_store_options


@click.command()
@new_store_options
@click.option("--repair", is_flag=True, help="Replace a damaged store by one made from the runs; its file is kept.")
@json_option
def command(runs: Path, tracking_uri: str | None, repair: bool, as_json: bool) -> None:
    """Check versions, devices, precision, the folder of runs and the store. Exit code 1 if anything is wrong.

    More in `attncli help troubleshooting`.

    \b
    Example:
      attncli doctor
      attncli doctor --repair
    """
    from attncli.doctor import repair_runs_store, run_checks
    from attncli.runs import RunStore

    run_store = RunStore(runs, tracking_uri)
    findings = ([repair_runs_store(run_store)] if repair else []) + run_checks(run_store)
    if as_json:
        echo_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(wrap_with_label(f"{'ok ' if finding.ok else 'BAD'}  {finding.what:12} ", finding.found))
            if finding.hint:
                click.echo(wrap_with_label(" " * 18 + "hint: ", finding.hint))
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)
