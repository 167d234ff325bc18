"""`attncli results verify`: check a file of results."""

from pathlib import Path

import click

from attncli.commands._output import echo_json, echo_note, json_option
from attncli.errors import RunFailedError
from attncli.quantities import format_quantity


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def command(file: Path, as_json: bool) -> None:
    """Check a file of results: form, digests, recipes, numbers of images, copies, and whether speeds are possible.

    Prints one line per problem. Exit code 1 if there is one, 2 if FILE is no file of results. Code and files of the
    user do not travel: digests that count them are not checked, and a note says so.

    More in `attncli help evidence`.

    \b
    Example:
      attncli results verify mine.results
    """
    from tempfile import TemporaryDirectory

    from attncli.result_checks import describe_unchecked_digests, find_result_problems
    from attncli.result_files import extract_results

    with TemporaryDirectory(prefix="attncli-results-") as folder:
        target = Path(folder)
        info = extract_results(file, target)
        problems = find_result_problems(target, info)
        note = describe_unchecked_digests(target)
    if note:
        echo_note(f"note: {note}")
    count = len(info.get("runs", []))
    if as_json:
        echo_json({"file": str(file), "runs": count, "problems": problems, "note": note})
    else:
        for problem in problems:
            click.echo(problem)
        if not problems:
            click.echo(f"{file}: good ({format_quantity(count, 'run')})")
    if problems:
        number = format_quantity(len(problems), "problem")
        raise RunFailedError(f"{file}: {number}, see above", "export the runs again, without those that are named")
