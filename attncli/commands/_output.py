"""The form of a command's output: the options that choose it, JSON, and lines that fit the terminal."""

import sys
from collections.abc import Callable
from typing import Any

import click

from attncli.commands._option_groups import F
from attncli.commands._printed_commands import complete_commands
from attncli.commands._result_stream import echo_result, reserve_stdout
from attncli.system.terminal import fill_text, find_terminal_width


def reserve_stdout_for_data(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Keep stdout for the result, until the command ends, if an option asks for one that other programs read."""
    if value not in (False, None, "table") and not context.resilient_parsing:
        context.with_resource(reserve_stdout())
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=reserve_stdout_for_data,
    help="Print JSON on stdout and nothing else there.",
)
csv_option = click.option("--csv", "as_csv", is_flag=True, callback=reserve_stdout_for_data, help="Print CSV.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr; warnings stay.")


def format_option(*formats: str) -> Callable[[F], F]:
    """Return the option `--format` with these values, `table` by default; the others are for other programs."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(formats),
        default="table",
        show_default=True,
        callback=reserve_stdout_for_data,
    )


def echo_json(value: Any) -> None:
    """Print a value as JSON on stdout; NaN and infinities, which JSON lacks, as null."""
    from attncli.report.json_text import format_json

    echo_result(format_json(value))


def overwrite_line(text: str) -> None:
    """Print a line on stderr that the next one overwrites; only on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=False)


def wrap_with_label(label: str, text: str) -> str:
    """Return a text after its label, in lines that fit the terminal, later lines indented."""
    return fill_text(text, find_terminal_width(), first=label, later=" " * len(label))


def echo_note(text: str) -> None:
    """Print a text on stderr; on a terminal in lines that fit it, and elsewhere, where programs read it, as it is.

    What can be copied is not broken: see `fill_text`. Commands in backquotes work on the runs of the command at hand.
    """
    text = complete_commands(text)
    if sys.stderr.isatty():
        text = "\n".join(fill_text(line, find_terminal_width()) for line in text.splitlines())
    click.echo(text, err=True)
