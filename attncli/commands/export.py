"""`attncli export`: write the network of a run to a file that other programs read."""

from pathlib import Path

import click

from attncli.commands._completion import complete_runs
from attncli.commands._output import echo_json, echo_note, json_option
from attncli.commands._run_options import locate_run, runs_option

FORMATS = ("safetensors", "onnx", "torch-export")


@click.command()
@click.argument("run", shell_complete=complete_runs)
@click.option("--to", "format_", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file  [default: NAME and a suffix]")
@runs_option
@json_option
def command(run: str, format_: str, out: Path | None, runs: Path, as_json: bool) -> None:
    """Write the network of the finished RUN to a file, and check the file by loading it back.

    safetensors holds the weights by name, with recipe, classes and normalisation as metadata: `attncli.load(FILE)`
    reads it, and so does model.pretrained. torch-export and onnx are programs that take images from 0 to 1,
    (N, 3, H, W); onnx needs `pip install 'attncli[onnx]'`.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli export eca-resnet18-s0
      attncli export eca-resnet18-s0 --to onnx --out eca.onnx
    """
    from attncli.trained import load_trained_network
    from attncli.trained.export import SUFFIXES, export_network

    trained = load_trained_network(locate_run(runs, run))
    summary = export_network(trained, format_, out or Path(trained.name.replace("/", "-") + SUFFIXES[format_]))
    if as_json:
        return echo_json(summary)
    shape = " x ".join(map(str, summary["input"]))
    click.echo(f"{summary['file']}  {summary['bytes']:,} bytes, images {shape}, {summary['classes']} classes")
    echo_note(f"loaded back: logits differ by at most {summary['largest_difference']:.2g}")
    return None
