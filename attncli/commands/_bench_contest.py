"""`attncli bench train` and `eval`: contenders in turn, ratios of throughput, an earlier bench to compare with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._options import echo_json, json_option

if TYPE_CHECKING:
    from attncli.benchmark.results import TrainingBenchRow

Function = Callable[..., Any]

history_option = click.option(
    "--history",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("runs/bench.jsonl"),
    show_default=True,
    help="File that keeps the figures.",
)


def contest_options(command: Function) -> Function:
    """What is trained or evaluated, how long a turn is, where the figures go."""
    options = (
        click.option("--backbone", metavar="NAMES", help="With commas; default resnet20,resnet18,resnet50."),
        click.option("--attn", metavar="NAMES", help="With commas; default none,eca,cbam."),
        click.option("--steps", type=click.IntRange(1), help="Batches of a turn; default 48 for resnet20, else 8."),
        click.option("--batch-size", type=click.IntRange(1), help="Of training; default 128, and 32 for resnet50."),
        click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns of each contender."),
        history_option,
        click.option(
            "--against",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Compare with the latest bench in this file.",
        ),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--rivals", metavar="NAMES", help="With commas, of bare,usual,usual-bf16; default all.")
@contest_options
def train(
    backbone: str | None,
    attn: str | None,
    rivals: str | None,
    steps: int | None,
    batch_size: int | None,
    rounds: int,
    history: Path,
    against: Path | None,
    as_json: bool,
) -> None:
    """Time training, everything included, against a bare loop and against the usual way, in turn.

    bare is a loop written by hand with the best settings; usual is a DataLoader with PIL images in float32;
    usual-bf16 is that with bf16 and channels_last. A ratio above 1 means that attncli is faster; the quartiles over
    the rounds stand beside it. Each contender has a process of its own; let nothing else run meanwhile.

    \b
    Example:
      attncli bench train --backbone resnet20 --attn none --steps 10 --rounds 3
      attncli bench train --against runs/bench.jsonl
    """
    from attncli.benchmark import training

    settings = training.make_settings(
        split_names(backbone, training.BACKBONES), split_names(attn, training.MECHANISMS), steps, batch_size
    )
    rows = training.bench_training(
        settings, rounds, require_known(split_names(rivals, training.RIVALS), training.RIVALS)
    )
    _report_rows("train", rows, history, against, as_json)


@click.command(name="eval")
@contest_options
def evaluation(
    backbone: str | None,
    attn: str | None,
    steps: int | None,
    batch_size: int | None,
    rounds: int,
    history: Path,
    against: Path | None,
    as_json: bool,
) -> None:
    """Time evaluation, everything included, against the bare inference that `attncli measure` times, in turn.

    A ratio of 1 means that reading, normalising and counting the images cost nothing beside the network, above 1 that
    evaluation's larger batches help more than that costs; the goal is 0.9. Quartiles over the rounds stand beside it.

    \b
    Example:
      attncli bench eval --backbone resnet20 --attn none,eca
    """
    from attncli.benchmark import evaluation as evaluating
    from attncli.benchmark import training

    settings = training.make_settings(
        split_names(backbone, training.BACKBONES), split_names(attn, training.MECHANISMS), steps, batch_size
    )
    _report_rows("eval", evaluating.bench_evaluation(settings, rounds), history, against, as_json)


def _report_rows(
    kind: str, rows: "Iterable[TrainingBenchRow]", history: Path, against: Path | None, as_json: bool
) -> None:
    """Each row as it comes on stderr, all of them in the history and on stdout."""
    from attncli.benchmark import history as past
    from attncli.benchmark import results
    from attncli.measure.environment import describe_machine

    earlier_bench = past.read_last_entry(against, kind) if against else {"rows": []}
    recorded_rows, shown = [], []
    for row in rows:
        recorded_rows.append(asdict(row))
        shown.append(
            results.format_training_row(
                row, past.find_earlier_row(earlier_bench["rows"], recorded_rows[-1], results.COMPARED_KEYS)
            )
        )
        click.echo("  " + "  ".join(f"{k} {v}" for k, v in shown[-1].items()), err=True)
    past.append_entry(
        history, {"kind": kind, "time": format_utc_now(), "machine": describe_machine(), "rows": recorded_rows}
    )
    if as_json:
        return echo_json(recorded_rows)
    from attncli.report.table import print_rows

    print_rows(shown)
    return None


def split_names(text: str | None, default: Sequence[str]) -> list[str]:
    """Names with commas as a list."""
    return [name.strip() for name in text.split(",")] if text else list(default)


def require_known(chosen: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """The names, all known. Raises UserError for another."""
    from attncli.errors import unknown_name_error

    for name in chosen:
        if name not in known:
            raise unknown_name_error("rival", name, known, location="--rivals")
    return chosen


def format_utc_now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
