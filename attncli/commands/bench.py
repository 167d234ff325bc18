"""`attncli bench`: how fast attncli itself is, in ratios."""

from dataclasses import asdict

import click

from attncli.commands.options import echo_json, json_option


@click.group()
def command() -> None:
    """How fast attncli's own code is, as ratios taken in one run on this machine.

    \b
    Example:
      attncli bench blocks --attn se,eca,cbam
    """


@command.command()
@click.option("--attn", default="all", metavar="NAMES", help="Mechanisms with commas, or all.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Only this one.")
@click.option("--contiguous", is_flag=True, help="Contiguous maps in place of channels_last ones.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True)
@json_option
def blocks(attn: str, precision: str | None, contiguous: bool, threads: int, repeats: int, as_json: bool) -> None:
    """Time every mechanism, forward and backward, against a 3x3 convolution and against copying the map.

    Where timm is installed (`pip install timm`) and has the block, against timm's too. A ratio above 1 means that
    ours takes longer.

    \b
    Example:
      attncli bench blocks --attn se,eca,cbam --precision bf16
    """
    import torch

    from attncli.measure import blocks as engine

    torch.set_num_threads(threads)
    wanted = engine.names() if attn == "all" else tuple(attn.split(","))
    found = []
    for item in engine.bench(
        wanted,
        precisions=[precision] if precision else engine.PRECISIONS,
        channels_last=not contiguous,
        repeats=repeats,
    ):
        if isinstance(item, engine.Reference):
            click.echo(engine.caption(item), err=True)
        else:
            click.echo(f"  {item.attn}", err=True)
            found.append(item)
    if as_json:
        return echo_json([asdict(row) for row in found])
    from attncli.report.table import show

    show([dict(zip(engine.COLUMNS, engine.cells(row), strict=True)) for row in found])
    return None
