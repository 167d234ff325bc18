"""`attncli data ls`: list the datasets, and whether their files are there."""

import click

from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.commands.data._dataset import name_argument, root_option
from attncli.system.files import expand_user_path


@click.command()
@name_argument
@root_option
@json_option
def command(name: str | None, data_root: str | None, as_json: bool) -> None:
    """List the datasets and whether their files are there; with a NAME, print all that is known about it.

    More in `attncli help data`.

    \b
    Example:
      attncli data ls
      attncli data ls imagenet
    """
    from attncli import data
    from attncli.dataset_catalog import list_dataset_aliases, read_description
    from attncli.errors import unknown_name_error

    if name is not None and name not in data.DATASETS:
        raise unknown_name_error("dataset", name, data.DATASETS, aliases=list_dataset_aliases())
    root = expand_user_path(data_root, "--data-root") if data_root is not None else data.find_default_root()
    names = [name] if name else list(data.DATASETS)
    rows = [{"name": n, "files": data.describe_availability(n, root), "what": data.DATASETS[n]} for n in names]
    if name and data_root:
        rows[0]["files"] = _describe_files(name, data_root)
    if as_json:
        described_rows = [row | {"text": read_description(row["name"])} for row in rows]
        return echo_json(described_rows[0] if name else described_rows)
    if name:
        return click.echo(f"{name}: {rows[0]['files']}\n\n{read_description(name)}")
    for row in rows:
        click.echo(wrap_with_label(f"{row['name']:19}", f"{row['what']} [{row['files']}]"))
    return None


def _describe_files(name: str, data_root: str) -> str:
    """Return whether the files of a dataset are in a folder, or why they cannot be used."""
    from attncli.data import describe_images
    from attncli.errors import UserError
    from attncli.recipe import Data

    try:
        return describe_images(Data(name=name, root=data_root))
    except UserError as error:
        return error.problem
