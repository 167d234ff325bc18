"""Measure the speeds that attncli brings: `python -m tests.generate.speeds BACKBONE [NAME ...]`.

NAME is a mechanism; without one, all that the file has counts of are timed. They are timed in small groups, and the
file is written after each, so that a measurement that was stopped goes on with what is missing. What this machine has
measured of today's code is not measured again: the mechanism's own file, and the modules of `attncli.attention` that it
imports. Records until 30 November 2026 do not say what was imported and count as today's; to measure them again, delete
them from the file. OMP_NUM_THREADS sets the number of threads.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from attncli import validation
from attncli.analysis import shipped_counts
from attncli.analysis.shipped_counts import USUAL_IMAGES, hash_imported_code, hash_mechanism_code, name_network
from attncli.analysis.shipped_speeds import (
    COMPARED_MACHINE_FACTS,
    SpeedRecord,
    make_speed_records,
    replace_speed_records,
)
from attncli.attention import NONE
from attncli.commands.measure import choose_batch_size
from attncli.measure.environment import describe_machine
from attncli.measure.overhead import Overhead
from attncli.measure.processes import measure_in_processes
from attncli.model import InputSpec
from tests.generate.overheads import write_tree

GROUP = 4  # mechanisms per start of a process


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.generate.speeds", description=__doc__)
    parser.add_argument("backbone", choices=sorted(USUAL_IMAGES))
    parser.add_argument("names", nargs="*", metavar="NAME", help="mechanism; by default all")
    parser.add_argument("--processes", type=int, default=3, help="that time each mechanism, at least 2")
    arguments = parser.parse_args()
    classes, side = USUAL_IMAGES[arguments.backbone]
    network, machine = name_network(arguments.backbone, (side, side), classes), describe_machine()
    known, batch_size = _list_mechanisms(network), choose_batch_size((side, side))
    if unknown := set(arguments.names) - set(known):
        parser.error(f"not counted on {network}: {', '.join(sorted(unknown))}")
    names = [name for name in arguments.names or known if not _is_measured(name, network, machine)]
    for start in range(0, len(names), GROUP):
        group = names[start : start + GROUP]
        recipes = [
            validation.read(None, [
                f"model.backbone={arguments.backbone}", f"model.attn={name}", f"measure.batch_size={batch_size}",
            ])
            for name in group
        ]  # fmt: skip
        add_speeds(network, measure_in_processes(recipes, InputSpec(classes, (side, side)), arguments.processes))
        print(f"{min(start + GROUP, len(names))} of {len(names)}: {', '.join(group)}", file=sys.stderr, flush=True)


def add_speeds(network: str, rows: Sequence[Overhead]) -> None:
    """Add the speeds of these rows to the file; what could not be timed is said on stderr."""
    machine, records = describe_machine(), []
    for row in rows:
        if row.speed is None:
            print(f"{row.attn}: {row.problem}", file=sys.stderr)
        else:
            code = hash_mechanism_code(row.attn), hash_imported_code(row.attn)
            records += make_speed_records(network, row.attn, row.speed, machine, *code)
    tree = json.loads(shipped_counts.locate_file().read_text(encoding="utf-8"))
    old = [SpeedRecord(**record) for record in tree["speeds"]]
    write_tree({**tree, "speeds": [vars(record) for record in replace_speed_records(old, records)]})


def _list_mechanisms(network: str) -> list[str]:
    """Return the mechanisms that the file has counts of on a network."""
    overheads = shipped_counts.read_shipped_overheads()
    return [name for name in overheads.counts[network] if name != NONE] if overheads else []


def _is_measured(attn: str, network: str, machine: dict[str, Any]) -> bool:
    """Return whether the file has a quiet speed of today's code, measured by such a machine with so many threads."""
    overheads = shipped_counts.read_shipped_overheads()
    return overheads is not None and any(
        (record.attn, record.network, record.threads) == (attn, network, machine["threads"])
        and all(machine.get(name) == record.machine.get(name) for name in COMPARED_MACHINE_FACTS)
        and record.is_of_code(hash_mechanism_code(attn), hash_imported_code(attn))
        and record.is_quiet
        for record in overheads.speeds
    )


if __name__ == "__main__":
    main()
