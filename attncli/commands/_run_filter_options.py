"""The options that choose among finished runs; `attncli.analysis.run_filter.read_run_filter` takes them by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from attncli.commands._completion import (
    complete_backbones,
    complete_datasets,
    complete_mechanisms,
    complete_recipes,
    complete_sweeps,
)
from attncli.commands._option_groups import F, apply_options
from attncli.commands._value_types import NAMES

_FILTERS = (
    click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Only runs on this dataset."),
    click.option("--backbone", metavar="NAME", shell_complete=complete_backbones, help="Only runs with this backbone."),
    click.option(
        "--attn",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_mechanisms,
        help="Only these mechanisms (separated by commas) and their baseline.",
    ),
    click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        metavar="RECIPE",
        shell_complete=complete_recipes,
        help="Only runs trained as this recipe says (a name or file), on any dataset, with any network.",
    ),
    click.option(
        "--sweep",
        type=click.Path(path_type=Path),
        metavar="SWEEP",
        shell_complete=complete_sweeps,
        help="Only runs of this sweep (a name or file), with any seed.",
    ),
    click.option("--since", metavar="DATE", help="Only runs that began on this day or later: 2026-11-29."),
)


def run_filter_options(command: F) -> F:
    """Add the options that choose among finished runs."""
    return apply_options(_FILTERS, command)


def name_filters(filters: Mapping[str, Any]) -> list[str]:
    """Return the words by which a file of the chosen runs is named, by what click passes on for the options.

    Dataset and backbone are not among them: a plot is of one dataset and backbone, and has their names anyway.
    """
    return [
        *(filters["attn"] or ()),
        *(filters[name].stem for name in ("recipe", "sweep") if filters[name]),
        *([filters["since"]] if filters["since"] else []),
    ]
