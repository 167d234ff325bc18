"""`attncli bench start`: what a run costs beside its training."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from attncli.commands._output import echo_json, json_option
from attncli.commands.bench._contenders import append_to_history, history_option

MAX_PACKAGES = 10  # packages whose import time is shown, the slowest


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Runs that are timed.")
@history_option
@json_option
def command(rounds: int, history: Path, as_json: bool) -> None:
    """Time what a run costs beside its training: from start to first step, from last step to exit, and imports.

    The runs train one epoch on the digits without timing the network, each in its own process.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench start --rounds 3
    """
    from attncli.benchmark import startup
    from attncli.benchmark.results import compute_quartiles

    with tempfile.TemporaryDirectory() as temporary_folder:
        timings = [asdict(timing) for timing in startup.bench_startup(Path(temporary_folder), rounds)]
        import_seconds = startup.time_imports(Path(temporary_folder))
    quartiles = {name: compute_quartiles([timing[name] for timing in timings]) for name in timings[0]}
    rows = [{"part": name, "seconds": seconds} for name, seconds in quartiles.items()]
    append_to_history(history, "start", rows, {"imports": import_seconds})
    if as_json:
        return echo_json({"parts": rows, "imports": import_seconds})
    from attncli.report.table import print_rows

    print_rows([
        {"part": name, "median": f"{median:.2f} s", "quartiles": f"{low:.2f}-{high:.2f}"}
        for name, (low, median, high) in quartiles.items()
    ])  # fmt: skip
    slowest = list(import_seconds.items())[:MAX_PACKAGES]
    print_rows([{"imports": name, "seconds": f"{seconds:.2f}"} for name, seconds in slowest])
    return None
