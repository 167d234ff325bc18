"""`attncli results`: finished runs in one small file, to compare them on another machine; those that attncli brings."""

import click

from attncli.commands._group import CommandFolder


@click.group(
    cls=CommandFolder, package=__name__, order=("ls", "speeds", "export", "verify"), invoke_without_command=True
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the results that attncli brings; write finished runs to one small file, and check such a file.

    `attncli compare`, `claims`, `report` and `sweep` read a file with --with FILE, and what attncli brings with
    --shipped NAME.

    More in `attncli help evidence` and `attncli help trained-networks`.

    \b
    Example:
      attncli results
      attncli results export mine.results
      attncli compare --with theirs.results
    """
    if ctx.invoked_subcommand is None:
        from attncli.commands.results.ls import command as list_results

        ctx.invoke(list_results)
