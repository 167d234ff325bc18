"""`attncli data prepare`: download and decode a dataset."""

from pathlib import Path
from typing import Any

import click

from attncli.commands._output import echo_json, json_option, wrap_with_label
from attncli.commands.data._dataset import dataset_options, load_dataset, read_dataset_recipe, runs_option
from attncli.quantities import format_counts


@click.command()
@dataset_options
@runs_option
@json_option
def command(name: str | None, runs: Path, as_json: bool, **options: Any) -> None:
    """Download and decode a dataset, so that runs start at once. After Ctrl-C the same command resumes.

    More in `attncli help data`.

    \b
    Example:
      attncli data prepare cifar10
      attncli data prepare imagenette --image-size 224 --set data.crop=resized
    """
    dataset = load_dataset(read_dataset_recipe(name, options), runs)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    image_counts = {split_name: len(split) for split_name, split in splits.items() if split is not None}
    if as_json:
        return echo_json(
            {
                "name": dataset.name,
                "images": image_counts,
                "classes": len(dataset.classes),
                "size": list(dataset.size),
                "digest": dataset.digest,
                "source": dataset.origin,
                "notes": dataset.notes,
                "warnings": dataset.warnings,
            }
        )
    images = format_counts(image_counts, "image")
    height, width = dataset.size
    click.echo(f"{dataset.name}: {images} of {width} x {height} px in {len(dataset.classes)} classes")
    click.echo(wrap_with_label("  digest  ", dataset.digest))
    click.echo(wrap_with_label("  from    ", dataset.origin))
    for note in dataset.notes:
        click.echo(wrap_with_label("  note    ", note))
    for warning in dataset.warnings:
        click.echo(wrap_with_label("  warning ", warning))
    return None
