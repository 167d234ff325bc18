"""`attncli doctor`: is this machine ready?"""

from pathlib import Path

import click

from attncli.commands._options import echo_json, json_option, store_options, wrap_with_label


@click.command()
@store_options
@json_option
def command(runs: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Show versions, devices, precision support and the health of the store; exit code 1 if anything is wrong.

    \b
    Example:
      attncli doctor
    """
    from attncli.doctor import run_checks

    findings = run_checks(runs, tracking_uri)
    if as_json:
        echo_json([vars(f) for f in findings])
    else:
        for f in findings:
            click.echo(wrap_with_label(f"{'ok ' if f.ok else 'BAD'}  {f.what:12} ", f.found))
            if f.hint:
                click.echo(wrap_with_label(" " * 18 + "hint: ", f.hint))
    if not all(f.ok for f in findings):
        raise SystemExit(1)
