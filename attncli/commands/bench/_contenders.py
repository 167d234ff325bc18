"""What the commands of `attncli bench` share: their options, the history of benches, the table of contenders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import complete_backbones, complete_mechanisms
from attncli.commands._device_option import device_option
from attncli.commands._option_groups import F, apply_options
from attncli.commands._output import echo_json, json_option
from attncli.commands._value_types import NAMES, FiniteNumber
from attncli.errors import RunFailedError
from attncli.system.signals import sigterm_as_interrupt

if TYPE_CHECKING:
    from attncli.benchmark.results import TrainingBenchRow
    from attncli.benchmark.training_loops import BenchSetting


def _locate_usual_history() -> Path:
    """Return the file that keeps benches in the folder of runs: that of ATTNCLI_RUNS, else `runs`."""
    from attncli.runs.folders import locate_usual_runs

    return locate_usual_runs() / "bench.jsonl"


history_option = click.option(
    "--history",
    type=click.Path(path_type=Path, dir_okay=False),
    default=_locate_usual_history,
    show_default="bench.jsonl in the folder of runs",
    help="File to which the figures are added.",
)
_CONTENDER_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--backbone",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_backbones,
        help="Backbones separated by commas  [default: resnet20,resnet18,resnet50]",
    ),
    click.option(
        "--attn",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_mechanisms,
        help="Mechanisms separated by commas  [default: none,eca,cbam]",
    ),
    click.option(
        "--steps", type=click.IntRange(1), help="Batches per turn  [default: about three seconds of training]"
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Images per step  [default: 128, for resnet50 32]"),
    click.option(
        "--rounds", type=click.IntRange(1), default=5, show_default=True, help="Turns per contender, at most."
    ),
    click.option(
        "--minutes",
        type=FiniteNumber(0, min_open=True),
        default=5.0,
        show_default=True,
        help="Time for all networks together.",
    ),
    history_option,
    click.option(
        "--against",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Compare with the latest bench in this file; a verdict needs three rounds of both.",
    ),
    device_option,
    json_option,
)


def contender_options(command: F) -> F:
    """Add the options that say which networks take turns, how long a turn is and where the figures go."""
    return apply_options(_CONTENDER_OPTIONS, command)


def make_bench_settings(
    backbones: Sequence[str] | None, mechanisms: Sequence[str] | None, steps: int | None, batch_size: int | None
) -> "list[BenchSetting]":
    """Return the settings to bench: every backbone with every mechanism, the defaults for what is None or empty.

    Raises UserError for a network that cannot be built, before any process is started.
    """
    from attncli import validation
    from attncli.benchmark import training

    chosen_backbones, chosen_mechanisms = backbones or training.BACKBONES, mechanisms or training.MECHANISMS
    for backbone in chosen_backbones:
        for attn in chosen_mechanisms:
            validation.read(values={"model.backbone": backbone, "model.attn": attn})
    return training.make_settings(chosen_backbones, chosen_mechanisms, steps, batch_size)


def check_requested_device() -> None:
    """Raise UserError if `--device` asks for what is not there, before any process is started."""
    from attncli.system.gpu_support import read_requested_device

    if read_requested_device():
        from attncli.train import choose_device

        choose_device()


def read_earlier_rows(kind: str, against: Path | None) -> list[dict[str, Any]]:
    """Return the rows of the latest bench of a kind in the file `against`, none for None. Raises UserError."""
    from attncli.benchmark.history import read_last_entry

    return list(read_last_entry(against, kind)["rows"]) if against else []


def report_bench_rows(
    kind: str,
    rows: "Iterable[TrainingBenchRow]",
    history: Path,
    earlier_rows: Sequence[Mapping[str, Any]],
    as_json: bool,
) -> None:
    """Print each row on stderr when it is measured, then add all to the history and print them on stdout.

    Ctrl-C, SIGTERM and a contender that dies end the measuring; what there is by then is added and printed. The exit
    code is 130 or that of the error.

    Args:
        kind: `train` or `eval`, under which the history keeps them.
        rows: the rows, measured one by one.
        history: file to which they are added.
        earlier_rows: those of an earlier bench to compare with.
        as_json: whether stdout gets JSON.

    Raises:
        RunFailedError: a contender died, or no row was measured in time.
        SystemExit: it was stopped.
    """
    from attncli.benchmark import history as past
    from attncli.benchmark import results
    from attncli.report.table import print_rows

    recorded_rows, shown_rows = [], []
    failure: BaseException | None = None
    try:
        with sigterm_as_interrupt():
            for row in rows:
                recorded_rows.append(asdict(row))
                earlier_row = past.find_earlier_row(earlier_rows, recorded_rows[-1], results.COMPARED_KEYS)
                shown_rows.append(results.format_training_row(row, earlier_row))
                echo_progress("  ".join(f"{k} {v}" for k, v in shown_rows[-1].items()))
    except KeyboardInterrupt:
        failure = SystemExit(130)
    except RunFailedError as error:
        failure = error
    if recorded_rows:
        append_to_history(history, kind, recorded_rows)
        if as_json:
            echo_json(recorded_rows)
        else:
            print_rows(shown_rows)
    if failure:
        raise failure
    if not recorded_rows:
        raise RunFailedError("the time was over before a round was complete", "give more: --minutes")


def echo_progress(text: str) -> None:
    """Print a line of progress on stderr."""
    click.echo(f"  {text}", err=True)


def append_to_history(
    history: Path, kind: str, rows: Sequence[Mapping[str, Any]], extra_fields: Mapping[str, Any] | None = None
) -> None:
    """Add a bench with the time and this machine to the history."""
    from attncli.benchmark.history import append_entry
    from attncli.measure.environment import describe_machine

    time = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"kind": kind, "time": time, "machine": describe_machine(), "rows": list(rows), **(extra_fields or {})}
    append_entry(history, entry)
