"""`attncli bench data`: reading images against torchvision's ImageFolder."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from attncli.commands._device_option import device_option
from attncli.commands._output import echo_json, json_option
from attncli.commands.bench._contenders import append_to_history, check_requested_device, history_option


@click.command()
@click.option(
    "--data-root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Folder with train/CLASS/*.jpg and test/ or val/  [default: JPEGs of noise]",
)
@click.option("--image-size", type=click.IntRange(8), default=224, show_default=True, metavar="PX")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--resized", is_flag=True, help="Random resized crops of full images; `jpeg` decodes in each epoch.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Turns per way.")
@history_option
@device_option
@json_option
def command(
    data_root: Path | None, image_size: int, batch_size: int, resized: bool, rounds: int, history: Path, as_json: bool
) -> None:
    """Time how images reach training, from JPEG and from the decoded cache, against torchvision's ImageFolder.

    `imagefolder` is torchvision's folder in a DataLoader with one worker process per core. `decode` is attncli's
    first reading of the folder, which writes the cache. `cache` is every later reading. The memory is the peak over
    all processes of each way.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench data --data-root ~/imagenette --image-size 160
    """
    from attncli.benchmark import data_loading

    check_requested_device()
    with tempfile.TemporaryDirectory() as temporary_folder:
        root = data_root or data_loading.write_noise_folder(Path(temporary_folder))
        bench_rows = data_loading.bench_data_loading(root.absolute(), image_size, batch_size, rounds, resized=resized)
    rows = [asdict(row) for row in bench_rows]
    append_to_history(history, "data", rows)
    if as_json:
        return echo_json(rows)
    from attncli.report.table import print_rows

    print_rows([data_loading.format_data_row(row) for row in bench_rows])
    return None
