"""`attncli results export`: write finished runs to one small file."""

from pathlib import Path

import click

from attncli.commands._completion import complete_backbones, complete_datasets, complete_mechanisms
from attncli.commands._output import echo_json, echo_note, json_option
from attncli.commands._run_options import (
    folder_is_option,
    read_folder_runs_and_warn,
    runs_option,
    warn_of_unreadable_runs,
)
from attncli.commands._value_types import NAMES, SEEDS
from attncli.dataset_catalog import find_properties, list_datasets
from attncli.errors import UserError, unknown_name_error
from attncli.quantities import format_quantity


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Only runs on this dataset.")
@click.option("--backbone", metavar="NAME", shell_complete=complete_backbones, help="Only runs with this backbone.")
@click.option(
    "--attn", type=NAMES, metavar="NAMES", shell_complete=complete_mechanisms, help="Only these, and their baseline."
)
@click.option("--seeds", type=SEEDS, metavar="N|LIST", help="Only these seeds: how many from 0 on, or which.")
@folder_is_option
@runs_option
@json_option
def command(
    file: Path,
    dataset: str | None,
    backbone: str | None,
    attn: list[str] | None,
    seeds: int | list[int] | None,
    folder_is: str | None,
    runs: Path,
    as_json: bool,
) -> None:
    """Write the finished runs to FILE: recipes, results, curves, provenance and predictions, no weights or images.

    Seeds of them that failed are named too. Paths of images and the name of the machine stay behind. If --attn leaves
    variants of a baseline out, FILE says how many: whoever compares the others tests fewer together than you did.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli results export mine.results --backbone resnet20
      attncli results export mine.results --seeds 0,1,2 --folder-is cifar10
    """
    from attncli.analysis.run_filter import read_run_filter
    from attncli.analysis.variants import count_left_out_variants
    from attncli.result_files import describe_left_out, export_results
    from attncli.runs import describe_unfinished_runs, read_failed_runs

    run_filter = read_run_filter(dataset=dataset, backbone=backbone, attn=attn)
    if folder_is is not None and find_properties(folder_is) is None:
        raise unknown_name_error("dataset", folder_is, list_datasets())
    finished_runs = read_folder_runs_and_warn(runs)
    run_filter.refuse_unknown_names(finished_runs)
    chosen = [
        run
        for run in finished_runs
        if run_filter.selects(run)
        and (seeds is None or run.recipe.seed in (range(seeds) if isinstance(seeds, int) else seeds))
    ]
    if not finished_runs and (advice := describe_unfinished_runs(runs)):
        raise UserError("no finished runs to export", advice)
    failures = read_failed_runs(runs, warn_of_unreadable_runs)
    left_out = count_left_out_variants(chosen, finished_runs)
    count = export_results(chosen, file, failures=failures, folder_is=folder_is, left_out=left_out)
    size = file.stat().st_size
    if left_out:
        echo_note(f"note: {describe_left_out(left_out)}, and readers of the file are told")
    if as_json:
        return echo_json({"file": str(file), "runs": count, "bytes": size, "left_out": left_out})
    return click.echo(f"{file}: {format_quantity(count, 'run')}, {size:,} bytes")
