"""`attncli look`: draw what a finished run's attention does to test images."""

from pathlib import Path

import click

from attncli.commands._completion import complete_runs
from attncli.commands._device_option import make_device_option
from attncli.commands._output import echo_json, echo_note, json_option
from attncli.commands._run_options import locate_run, store_options
from attncli.errors import UserError
from attncli.quantities import format_quantity


@click.command()
@click.argument("run", shell_complete=complete_runs)
@click.option("--images", type=click.IntRange(1), default=6, show_default=True, metavar="N", help="Test images.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    metavar="N",
    help="Images behind the distributions.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures  [default: RUNS/<digest>/look]",
)
@click.option("--track/--no-track", default=True, help="Add the pictures to the run in MLflow too (default).")
@make_device_option("cpu")
@store_options
@json_option
def command(
    run: str,
    images: int,
    sample: int,
    out: Path | None,
    track: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Draw what a run's attention does: one picture per test image, and one of all sites.

    RUN is the name of a finished run (such as eca-resnet18-s0), the beginning of its digest, or its folder. Each
    picture shows the input, Grad-CAM of the run and of its plain network (if that run is finished too), and for each
    site what the mechanism has there: channel gates, maps, affinities, offsets, glimpses, warps or branch weights.

    More in `attncli help attention-figures`.

    \b
    Example:
      attncli look eca-resnet18-s0 --images 3
    """
    if tracking_uri is not None and not track:
        raise UserError("--tracking-uri: with --no-track nothing is added to MLflow", "leave out one of them")
    from attncli.report.run_figures import draw_attention
    from attncli.runs import RunStore
    from attncli.system.gpu_support import read_requested_device
    from attncli.track.active_run import LOOK_FOLDER
    from attncli.train import choose_device
    from attncli.train.errors import translated_inference_errors

    folder, device = locate_run(runs, run), str(choose_device()) if read_requested_device() else "cpu"
    with translated_inference_errors():
        files, summary = draw_attention(
            folder, out or folder / LOOK_FOLDER, images=images, sample=sample, device=device
        )
    if track:
        from attncli.track.artifacts import attach_to_run

        summary["run_id"] = attach_to_run(files, folder.name, LOOK_FOLDER, run_store=RunStore(runs, tracking_uri))
    if as_json:
        return echo_json(summary)
    sites = {distribution["site"] for distribution in summary["sites"]}
    image_count = format_quantity(len(summary["images"]), "test image")
    click.echo(f"{summary['run']}: {image_count}, {format_quantity(len(sites), 'site')}")
    for path in files:
        click.echo(f"  {path}")
    if summary["baseline"] is None:
        _tell_of_missing_baseline(folder, summary["baseline_problem"])
    if track:
        echo_note("also in MLflow, under the run's artifacts: `attncli ui`")
    return None


def _tell_of_missing_baseline(folder: Path, problem: str | None) -> None:
    """Say on stderr why the pictures lack the plain network, or how to train it; nothing if the run is its own."""
    if problem is not None:
        return echo_note(f"the pictures lack Grad-CAM of the plain network: {problem}")
    from attncli.attention import NONE
    from attncli.recipe import read
    from attncli.track.tags import format_run_command

    recipe = read(folder / "recipe.yaml")
    if recipe.model.attn != NONE:
        command = format_run_command(recipe.make_baseline())
        echo_note(f"the pictures lack Grad-CAM of the plain network, which this trains: `{command}`")
    return None
