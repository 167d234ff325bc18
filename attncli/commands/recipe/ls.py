"""`attncli recipe ls`: list recipes and sweeps with what they are."""

import click

from attncli.commands._output import echo_json, json_option


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List every recipe and sweep: its name, whether it is yours (recipes/) or attncli's, and what it is.

    `attncli run NAME` takes a recipe, `attncli sweep NAME` a sweep.

    More in `attncli help concepts`.

    \b
    Example:
      attncli recipe ls
      attncli recipe ls --json
    """
    from attncli.recipe import library
    from attncli.report.table import print_rows

    shipped = library.find_shipped_folder().resolve()
    rows = [
        {
            "name": name,
            "kind": kind,
            "from": "attncli" if shipped in path.resolve().parents else "recipes/",
            "what": what,
        }
        for kind, name, path, what in library.iterate_openings()
    ]
    return echo_json(rows) if as_json else print_rows(rows, empty="no recipes")
