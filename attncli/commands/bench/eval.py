"""`attncli bench eval`: evaluation against bare inference."""

from pathlib import Path

import click

from attncli.commands.bench._contenders import (
    check_requested_device,
    contender_options,
    echo_progress,
    make_bench_settings,
    read_earlier_rows,
    report_bench_rows,
)


@click.command()
@contender_options
def command(
    backbone: list[str] | None,
    attn: list[str] | None,
    steps: int | None,
    batch_size: int | None,
    rounds: int,
    minutes: float,
    history: Path,
    against: Path | None,
    as_json: bool,
) -> None:
    """Time evaluation, everything included, against the bare inference that `attncli measure` times, in turn.

    A ratio of 1 means that reading, normalising and counting the images cost nothing beside the network. Above 1,
    evaluation's larger batches save more time than that costs. The goal is 0.9. The quartiles over the rounds stand
    beside it. After --minutes, or Ctrl-C, it prints what it has.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench eval --backbone resnet20 --attn none,eca
    """
    from attncli.benchmark import evaluation
    from attncli.benchmark.turns import BenchLimit

    check_requested_device()
    earlier_rows = read_earlier_rows("eval", against)
    settings = make_bench_settings(backbone, attn, steps, batch_size)
    rows = evaluation.bench_evaluation(settings, BenchLimit(rounds, 60 * minutes), echo_progress)
    report_bench_rows("eval", rows, history, earlier_rows, as_json)
