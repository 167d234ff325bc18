"""`attncli data`: datasets listed, prepared, verified and shown as networks see them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from attncli.commands._options import echo_json, json_option, read_recipe, wrap_with_label
from attncli.errors import RunFailedError, UserError

NAME = click.argument("name", metavar="[NAME]", required=False)
ROOT = click.option("--data-root", metavar="DIR", help="Folder that holds, or gets, the files.")
SIZE = click.option("--image-size", type=int, metavar="PX", help="Side of the images in pixels.")
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any key; may be repeated.")
RECIPE = click.option("--recipe", type=click.Path(path_type=Path), metavar="FILE", help="Recipe with the data section.")
RUNS = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    envvar="ATTNCLI_RUNS",
    show_default=True,
    help="Folder of the runs, which has the decoded images in cache/.",
)


@click.group()
def command() -> None:
    """List, prepare, verify and show datasets.

    \b
    Example:
      attncli data ls
      attncli data prepare imagenette --image-size 224
      attncli data verify imagenette
      attncli data show imagenette --image-size 224 --set data.crop=resized
    """


@command.command(name="ls")
@NAME
@ROOT
@json_option
def listing(name: str | None, data_root: str | None, as_json: bool) -> None:
    """List the datasets and whether their files are there; with a NAME, all that is known of it.

    \b
    Example:
      attncli data ls
      attncli data ls imagenet
    """
    from attncli import data
    from attncli.dataset_catalog import read_description
    from attncli.errors import unknown_name_error

    if name is not None and name not in data.DATASETS:
        raise unknown_name_error("dataset", name, data.DATASETS)
    root = Path(data_root).expanduser() if data_root else data.find_default_root()
    names = [name] if name else list(data.DATASETS)
    rows = [{"name": n, "files": data.describe_availability(n, root), "what": data.DATASETS[n]} for n in names]
    if as_json:
        described_rows = [row | {"text": read_description(row["name"])} for row in rows]
        return echo_json(described_rows[0] if name else described_rows)
    if name:
        return click.echo(f"{name}: {rows[0]['files']}\n\n{read_description(name)}")
    for row in rows:
        click.echo(wrap_with_label(f"{row['name']:19}", f"{row['what']} [{row['files']}]"))
    return None


@command.command()
@NAME
@RECIPE
@ROOT
@SIZE
@SET
@RUNS
@json_option
def prepare(name: str | None, runs: Path, as_json: bool, **options: Any) -> None:
    """Download and decode a dataset, so that runs begin at once; Ctrl-C stops it, the same call goes on.

    \b
    Example:
      attncli data prepare cifar10
      attncli data prepare imagenette --image-size 224 --set data.crop=resized
    """
    recipe = _read_dataset_recipe(name, options)
    dataset = _load_dataset(recipe, runs)
    parts = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    summary = {
        "name": dataset.name,
        "images": {k: len(part) for k, part in parts.items() if part is not None},
        "classes": len(dataset.classes),
        "size": list(dataset.size),
        "digest": dataset.digest,
        "source": dataset.origin,
    }
    if as_json:
        return echo_json(summary)
    images = ", ".join(f"{count:,} {part}" for part, count in summary["images"].items())
    height, width = dataset.size
    click.echo(f"{dataset.name}: {images} images of {width} x {height} px in {len(dataset.classes)} classes")
    click.echo(wrap_with_label("  digest  ", dataset.digest))
    click.echo(wrap_with_label("  from    ", dataset.origin))
    return None


@command.command()
@NAME
@RECIPE
@ROOT
@SIZE
@SET
@json_option
def verify(name: str | None, as_json: bool, **options: Any) -> None:
    """Look at every file of a dataset: layout, published counts and sums, unreadable images; exit 1 if any is bad.

    Nothing is downloaded, decoded images are not used.

    \b
    Example:
      attncli data verify imagenette --data-root ~/imagenette2-320
    """
    recipe = _read_dataset_recipe(name, options)
    from attncli import data
    from attncli.report.run_progress import RunProgress

    with RunProgress(as_json) as live:
        report = data.verify_dataset(recipe.data, progress=live.on_reading)
    if as_json:
        echo_json(asdict(report))
    else:
        _print_report(report)
    if report.problems:
        raise RunFailedError(f"{report.dataset}: not whole, see above", "mend or remove what is named there")


def _print_report(report: Any) -> None:
    from attncli.report.table import print_rows

    if report.parts:
        print_rows([asdict(part) for part in report.parts])
    for problem in report.problems:
        click.echo(wrap_with_label("bad   ", problem))
    for remark in report.remarks:
        click.echo(wrap_with_label("note  ", remark))
    checked_text = f"{report.checked:,} image files decoded, {report.sums} published sums agree"
    if not report.problems:
        click.echo(f"{report.dataset}: good ({checked_text})")


@command.command()
@NAME
@RECIPE
@ROOT
@SIZE
@SET
@RUNS
@click.option("--images", type=click.IntRange(1, 256), default=32, show_default=True, help="Images on the sheet.")
@click.option("--epoch", type=click.IntRange(1), default=1, show_default=True, help="As this epoch sees them.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="As runs of this seed see them.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: NAME.png.")
@json_option
def show(
    name: str | None, runs: Path, images: int, epoch: int, seed: int, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Draw training images with their labels as a network sees them: cropped, mirrored, varied, mixed.

    \b
    Example:
      attncli data show digits
      attncli data show --recipe recipes/imagenette-resnet18.yaml --set data.policy=trivial --set data.cutmix=1
    """
    recipe = _read_dataset_recipe(name, options)
    dataset = _load_dataset(recipe, runs)
    from attncli.data.preview import draw_preview
    from attncli.report.contact_sheet import draw_contact_sheet

    samples = draw_preview(dataset, images, seed=seed, epoch=epoch - 1)
    path = out or Path(f"{dataset.name}.png")
    draw_contact_sheet(
        [s.image for s in samples], [s.label for s in samples], f"{dataset.name}, seed {seed}, epoch {epoch}", path
    )
    if as_json:
        return echo_json({"file": str(path), "labels": [s.label for s in samples]})
    return click.echo(str(path))


def _read_dataset_recipe(name: str | None, options: dict[str, Any]) -> Any:
    """The recipe of a dataset's name, or of a file, and of the options."""
    file = options.pop("recipe")
    if name is None and file is None:
        raise UserError("no dataset named", "`attncli data ls` lists them; --recipe FILE takes that of a recipe")
    return read_recipe({"recipe": (file,) if file else (), "dataset": name, **options})


def _load_dataset(recipe: Any, runs: Path) -> Any:
    """The dataset, with what goes on shown on stderr; loads torch."""
    from attncli import data
    from attncli.report.run_progress import RunProgress

    with RunProgress() as live:
        return data.load(recipe.data, cache=runs / "cache", progress=live.on_reading)
