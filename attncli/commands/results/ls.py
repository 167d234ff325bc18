"""`attncli results ls`: list the results that attncli brings."""

from collections.abc import Mapping

import click

from attncli.commands._output import echo_json, echo_note, json_option, wrap_with_label


@click.command()
@json_option
def command(as_json: bool = False) -> None:
    """List the results that attncli brings: runs, mechanisms, seeds, and on which machines they were trained.

    `overheads.json` holds exact counts of every mechanism on four backbones. `current` is the number of mechanisms
    whose counts were made by the code and libraries that are installed here; only those are used.
    `attncli results speeds` shows the speeds of that file.

    More in `attncli help evidence`.

    \b
    Example:
      attncli results ls
      attncli results ls --json
    """
    from attncli.analysis.shipped_counts import locate_file, summarize_overheads
    from attncli.recipe.library import list_shipped_results
    from attncli.result_files import imported_results, summarize_results

    rows = []
    for name, path in list_shipped_results().items():
        with imported_results([path], echo_note) as runs:
            rows.append({"name": name, "kind": "runs", "bytes": path.stat().st_size, **summarize_results(runs)})
    overheads = locate_file()
    if overheads.is_file():
        rows.append({"name": overheads.name, "bytes": overheads.stat().st_size, **summarize_overheads(overheads)})
    if as_json:
        echo_json(rows)
    else:
        click.echo("\n\n".join(_format_file(row) for row in rows) or "attncli brings no results")


def _format_file(facts: Mapping[str, object]) -> str:
    """Return a file's name, and below it one line per fact."""
    lines = [wrap_with_label(f"  {key:<11} ", str(value)) for key, value in facts.items() if key != "name"]
    return "\n".join([str(facts["name"]), *lines])
