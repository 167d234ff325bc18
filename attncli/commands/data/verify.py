"""`attncli data verify`: check every file of a dataset."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.commands.data._dataset import dataset_options, read_dataset_recipe
from attncli.errors import RunFailedError
from attncli.quantities import format_quantity

if TYPE_CHECKING:
    from attncli.data.verify import VerificationReport


@click.command()
@dataset_options
@json_option
def command(name: str | None, as_json: bool, **options: Any) -> None:
    """Check every file of a dataset: layout, published counts and checksums, unreadable images.

    Nothing is downloaded, and decoded images are not used. Exit code 1 if anything is bad.

    More in `attncli help data`.

    \b
    Example:
      attncli data verify imagenette --data-root ~/imagenette2-320
    """
    recipe = read_dataset_recipe(name, options)
    from attncli import data
    from attncli.report.run_progress import RunProgress

    with RunProgress(as_json) as progress:
        report = data.verify_dataset(recipe.data, progress=progress.on_reading)
    if as_json:
        echo_json(asdict(report))
    else:
        _print_verification(report)
    if report.problems:
        raise RunFailedError(f"{report.dataset}: not whole, see above", "; ".join(report.repairs))


def _print_verification(report: "VerificationReport") -> None:
    from attncli.report.table import print_rows

    if report.parts:
        print_rows([asdict(part) for part in report.parts])
    for problem in report.problems:
        click.echo(wrap_with_label("bad   ", problem))
    for remark in report.remarks:
        click.echo(wrap_with_label("note  ", remark))
    if not report.problems:
        files = f"{format_quantity(report.checked, 'image file')} decoded"
        sums = f", {format_quantity(report.sums, 'published checksum')} right" if report.sums else ""
        click.echo(f"{report.dataset}: good ({files}{sums})")
