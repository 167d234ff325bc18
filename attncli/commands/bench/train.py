"""`attncli bench train`: training against a bare loop and against the usual way."""

from collections.abc import Sequence
from pathlib import Path

import click

from attncli.commands._value_types import NAMES
from attncli.commands.bench._contenders import (
    check_requested_device,
    contender_options,
    echo_progress,
    make_bench_settings,
    read_earlier_rows,
    report_bench_rows,
)


@click.command()
@click.option(
    "--rivals",
    type=NAMES,
    metavar="NAMES",
    help="Of bare,bare-contiguous,usual,usual-bf16, separated by commas  [default: bare,usual,usual-bf16]",
)
@contender_options
def command(
    backbone: list[str] | None,
    attn: list[str] | None,
    rivals: list[str] | None,
    steps: int | None,
    batch_size: int | None,
    rounds: int,
    minutes: float,
    history: Path,
    against: Path | None,
    as_json: bool,
) -> None:
    """Time training, everything included, against a bare loop and against the usual way, in turn.

    `bare` is a hand-written loop in channels_last, `bare-contiguous` the same with contiguous maps. `usual` is a
    DataLoader with PIL images in float32, and `usual-bf16` is the same with bf16 and channels_last. A ratio above 1
    means that attncli is faster; the quartiles over the rounds stand beside it. Each contender runs in its own
    process. Let nothing else run meanwhile. After --minutes, or Ctrl-C, it prints what it has.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench train --backbone resnet20 --attn none --steps 10 --rounds 3
      attncli bench train --backbone resnet20 --attn none --steps 10 --rounds 3 --against runs/bench.jsonl
    """
    from attncli.benchmark import training
    from attncli.benchmark.contenders import CONTENDERS
    from attncli.benchmark.turns import BenchLimit

    check_requested_device()
    chosen_rivals = _require_rivals(rivals or training.RIVALS, CONTENDERS[1:])
    earlier_rows = read_earlier_rows("train", against)
    settings = make_bench_settings(backbone, attn, steps, batch_size)
    rows = training.bench_training(settings, BenchLimit(rounds, 60 * minutes), chosen_rivals, echo_progress)
    report_bench_rows("train", rows, history, earlier_rows, as_json)


def _require_rivals(rivals: Sequence[str], known_rivals: Sequence[str]) -> list[str]:
    """Return the rivals. Raises UserError for an unknown one."""
    from attncli.errors import unknown_name_error

    for name in rivals:
        if name not in known_rivals:
            raise unknown_name_error("rival", name, known_rivals, location="--rivals")
    return list(rivals)
