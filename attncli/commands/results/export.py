"""`attncli results export`: write finished runs to one small file."""

from pathlib import Path

import click

from attncli.commands._completion import complete_backbones, complete_datasets, complete_mechanisms
from attncli.commands._options import NAMES, echo_json, json_option, runs_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Only runs on this dataset.")
@click.option("--backbone", metavar="NAME", shell_complete=complete_backbones, help="Only runs with this backbone.")
@click.option(
    "--attn", type=NAMES, metavar="NAMES", shell_complete=complete_mechanisms, help="Only these, and their baseline."
)
@runs_option
@json_option
def command(
    file: Path, dataset: str | None, backbone: str | None, attn: list[str] | None, runs: Path, as_json: bool
) -> None:
    """Write the finished runs to FILE: recipes, results, curves, provenance and predictions, no weights or images.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli results export mine.zip --backbone resnet20
    """
    from attncli.result_files import export_results
    from attncli.runs import read_folder_runs

    chosen = [
        run
        for run in read_folder_runs(runs)
        if dataset in (None, run.dataset)
        and backbone in (None, run.recipe.model.backbone_label)
        and (not attn or run.result.attn in (*attn, "none"))
    ]
    count = export_results(chosen, file)
    size = file.stat().st_size
    if as_json:
        return echo_json({"file": str(file), "runs": count, "bytes": size})
    return click.echo(f"{file}: {count} runs, {size:,} bytes")
