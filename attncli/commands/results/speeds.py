"""`attncli results speeds`: show the speeds that attncli brings."""

from dataclasses import asdict

import click

from attncli.commands._output import echo_json, json_option
from attncli.errors import UserError, unknown_name_error
from attncli.system.terminal import find_terminal_width


@click.command()
@click.option("--backbone", metavar="NAME", help="Only on this backbone.")
@json_option
def command(backbone: str | None, as_json: bool) -> None:
    """Show the speeds that attncli brings: mechanisms against the plain network, with 95 % intervals.

    Each table has the machine, the batch and the date of its ratios. On another machine they differ: `attncli measure
    --processes 3` times them on yours.

    More in `attncli help evidence`.

    \b
    Example:
      attncli results speeds
      attncli results speeds --backbone resnet20 --json
    """
    from attncli.analysis.shipped_counts import (
        USUAL_IMAGES,
        hash_imported_code,
        hash_mechanism_code,
        read_shipped_overheads,
    )
    from attncli.report.speeds import render_speeds

    if backbone is not None and backbone not in USUAL_IMAGES:
        raise unknown_name_error("backbone", backbone, USUAL_IMAGES, "--backbone")
    overheads = read_shipped_overheads()
    records = [
        record
        for record in (overheads.speeds if overheads else ())
        if backbone is None or record.network.split()[0] == backbone
    ]
    if as_json:
        return echo_json([{**asdict(record), "is_quiet": record.is_quiet} for record in records])
    if not records:
        raise _make_no_speeds_error(
            backbone, sorted({r.network.split()[0] for r in overheads.speeds} if overheads else ())
        )
    changed = {
        record.code
        for record in records
        if not record.is_of_code(hash_mechanism_code(record.attn), hash_imported_code(record.attn))
    }
    click.echo(render_speeds(records, changed, find_terminal_width()))
    return None


def _make_no_speeds_error(backbone: str | None, networks: list[str]) -> UserError:
    """Return the error for a backbone without speeds: what there is, and the command that times some here."""
    from attncli.analysis.shipped_counts import USUAL_IMAGES

    name = backbone or "resnet20"
    there = f", only on {', '.join(networks)}" if networks else ""
    return UserError(
        f"attncli brings no speeds{f' on {backbone}' if backbone else ''}{there}",
        f"time them here: attncli measure --attn se,eca,cbam --backbone {name} --image-size {USUAL_IMAGES[name][1]} "
        "--processes 3",
    )
